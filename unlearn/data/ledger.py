"""Counts the real images and labels that a method reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Read = Literal["images", "labels"]


@dataclass(frozen=True)
class Ledger:
    """Marks each row of a training set that was read.

    A row counts once, however often it is read: a method may keep what it has read.

    Args:
        images: bool (N,), True where the image was read.
        labels: bool (N,), True where the label was read.
    """

    images: Tensor
    labels: Tensor

    @classmethod
    def blank(cls, rows: int, device: torch.device) -> Ledger:
        """Return a ledger in which nothing is marked.

        Args:
            rows: Number of rows of the training set.
            device: Where the marks are kept.
        """
        return cls(*(torch.zeros(rows, dtype=torch.bool, device=device) for _ in range(2)))

    def __deepcopy__(self, memo: object) -> Ledger:
        """Return this object, so that reads of a copied split are counted here too."""
        return self

    def plain(self) -> dict[str, Tensor]:
        """Return the marks, for the checkpoint of a run that may be interrupted."""
        return {"images": self.images, "labels": self.labels}

    def restore(self, kept: Mapping[str, Tensor]) -> None:
        """Add the marks of an earlier attempt."""
        self.images.logical_or_(kept["images"].to(self.images.device))
        self.labels.logical_or_(kept["labels"].to(self.labels.device))

    def counts(self, labels: Tensor, num_classes: int) -> dict[str, int | list[int]]:
        """Return the numbers of images and labels read, and of images read of each class.

        Args:
            labels: Classes of all rows, (N,).
            num_classes: Number of classes.
        """
        each = torch.bincount(labels[self.images], minlength=num_classes)
        return {
            "images": int(self.images.sum()),
            "labels": int(self.labels.sum()),
            "images_per_class": each.tolist(),
        }


@dataclass(frozen=True)
class Page:
    """Some rows of a training set, and the ledger that counts how they are read.

    Args:
        ledger: Of the whole training set.
        rows: Numbers of these rows in the training set, (n,).
    """

    ledger: Ledger
    rows: Tensor

    def enter(self, what: Read, some: Tensor | None = None) -> None:
        """Mark rows as read.

        Args:
            what: Whether their images or their labels were read.
            some: Positions of the rows on this page, (m,). None: all rows.
        """
        rows = self.rows if some is None else self.rows[some]
        getattr(self.ledger, what)[rows] = True

    def only(self, some: Tensor) -> Page:
        """Return a page of the rows at some positions on this page, (m,)."""
        return Page(self.ledger, self.rows[some])
