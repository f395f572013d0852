"""Real training images, as the methods that need data were published."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import torch

from unlearn.data.tensors import Access, Split
from unlearn.methods.base import State
from unlearn.request import Request
from unlearn.sources.base import Examples, Wanted


@dataclass(frozen=True, kw_only=True)
class Real:
    """The training rows of the classes wanted; the record's ledger counts them.

    Args:
        most: rows of each class, drawn at random; None: all of them.
    """

    most: int | None

    def access(self, wanted: Wanted) -> Access:
        """Just what is asked for."""
        return wanted

    def examples(
        self, request: Request, data: Split | None, wanted: Wanted, random: torch.Generator
    ) -> Generator[State, object, Examples]:
        """The rows that the runner granted; see `Source`."""
        yield from ()
        assert data is not None
        granted = Examples(data.images, data.labels)
        return granted if self.most is None else granted.most(self.most, random)
