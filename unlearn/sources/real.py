"""Real training images, as the methods that need data were published."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import torch

from unlearn.data.tensors import Access, Split
from unlearn.methods.base import State
from unlearn.request import Request
from unlearn.sources.base import Examples, Wanted, drawn


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
        self,
        request: Request,
        data: Split | None,
        wanted: Wanted,
        random: torch.Generator,
        most: int | None = None,
    ) -> Generator[State, object, Examples]:
        """Those rows, of the ones that the runner granted; see `Source`."""
        yield from ()
        assert data is not None
        limits = [limit for limit in (self.most, most) if limit is not None]
        if limits:  # labels first, so that no image is read which is not used
            data = data.at(drawn(data.labels, min(limits), random))
        return Examples(data.images, data.labels)
