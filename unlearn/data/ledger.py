"""Which real rows a method has read: of which the images, and of which the labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Read = Literal["images", "labels"]


@dataclass(frozen=True)
class Ledger:
    """A mark for each row of a training set, (N,) bool, where it was read.

    It counts rows, however often each is read: a method may keep what it has read, and how often
    it goes over that is not for the ledger to know.

    Args:
        images: rows whose image was read.
        labels: rows whose label was read.
    """

    images: Tensor
    labels: Tensor

    @classmethod
    def blank(cls, rows: int, device: torch.device) -> Ledger:
        """One in which nothing is marked."""
        return cls(*(torch.zeros(rows, dtype=torch.bool, device=device) for _ in range(2)))

    def __deepcopy__(self, memo: object) -> Ledger:
        """Itself: what is read of a copied split goes into the same ledger."""
        return self

    def plain(self) -> dict[str, Tensor]:
        """The marks, to be kept for a run that is cut off."""
        return {"images": self.images, "labels": self.labels}

    def restore(self, kept: Mapping[str, Tensor]) -> None:
        """Add the marks of an earlier attempt."""
        self.images.logical_or_(kept["images"].to(self.images.device))
        self.labels.logical_or_(kept["labels"].to(self.labels.device))

    def counts(self, labels: Tensor, num_classes: int) -> dict[str, int | list[int]]:
        """How many rows were read, and of how many of each class the image.

        Args:
            labels: of all rows, (N,).
            num_classes: K.
        """
        each = torch.bincount(labels[self.images], minlength=num_classes)
        return {
            "images": int(self.images.sum()),
            "labels": int(self.labels.sum()),
            "images_per_class": each.tolist(),
        }


@dataclass(frozen=True)
class Page:
    """Some rows of a training set, and the ledger that their reading goes into.

    Args:
        ledger: shared by all that was handed out of the training set.
        rows: their numbers in it, (n,).
    """

    ledger: Ledger
    rows: Tensor

    def enter(self, what: Read, some: Tensor | None = None) -> None:
        """Mark these rows, or `some` of them (their places here), as read."""
        rows = self.rows if some is None else self.rows[some]
        getattr(self.ledger, what)[rows] = True

    def only(self, some: Tensor) -> Page:
        """The page of some of the rows, by their places here."""
        return Page(self.ledger, self.rows[some])
