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
        images, labels = data.images, data.labels
        if self.most is None:
            return Examples(images, labels)
        order = torch.randperm(len(labels), generator=random).to(labels.device)
        kept = [order[labels[order] == c][: self.most] for c in labels.unique()]
        rows = torch.cat(kept)
        return Examples(images[rows], labels[rows])
