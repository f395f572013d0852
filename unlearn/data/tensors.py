"""A data set on the device: split by seed, and sealed while a method runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from unlearn.config.schema import retain_classes
from unlearn.data.batches import batch_sizes
from unlearn.data.images import DataContractError, Images, Pixels, Seal, choose
from unlearn.data.ledger import Ledger, Page, Read
from unlearn.data.source import RawImages

__all__ = ["Access", "Data", "DataContractError", "Seal", "Split", "prepare"]
Access = Literal["none", "oracle", "forget", "retain", "all"]


@dataclass(frozen=True)
class Split:
    """Part of a data set.

    `images` are float32 (N, C, H, W), normalised when they are read; `labels` are int64 (N,). Both
    raise `DataContractError` while the seal is closed. What a method is given has a page of a
    ledger, in which the rows are marked whose image or label was read.
    """

    _images: Tensor
    _labels: Tensor
    _seal: Seal = field(default_factory=Seal)
    _page: Page | None = None

    @property
    def images(self) -> Tensor:
        """The images; the ledger counts all of them as read."""
        self._read("images")
        return self._images

    @property
    def labels(self) -> Tensor:
        """The labels; the ledger counts all of them as read."""
        self._read("labels")
        return self._labels

    def __len__(self) -> int:
        return len(self._labels)

    def _read(self, what: Read, rows: Tensor | None = None) -> None:
        """Check the seal, and mark all rows or some of them in the ledger if there is one."""
        self._seal.check()
        if self._page is not None:
            self._page.enter(what, rows)

    def only(self, classes: tuple[int, ...]) -> Split:
        """Return the rows whose label is one of `classes`. This reads all labels."""
        return self.at(self._of(classes).nonzero().flatten())

    def at(self, rows: Tensor) -> Split:
        """Return the rows with these numbers (n,), in their order, without reading any."""
        page = None if self._page is None else self._page.only(rows)
        return Split(choose(self._images, rows), self._labels[rows], self._seal, page)

    def granted(self, classes: tuple[int, ...], ledger: Ledger) -> Split:
        """Return the rows of some classes, readable under any seal.

        Args:
            classes: Labels of the rows.
            ledger: Counts what is read; it has a mark for each row of this split.
        """
        rows = self._of(classes).nonzero().flatten()
        images = self._images
        granted = images.granted(rows) if isinstance(images, Images) else images[rows]
        return Split(granted, self._labels[rows], _page=Page(ledger, rows))

    def _of(self, classes: tuple[int, ...]) -> Tensor:
        labels = self.labels
        return torch.isin(labels, torch.tensor(classes, device=labels.device))

    def batches(self, size: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images and labels of one epoch in shuffled batches.

        Args:
            size: Rows a batch; see `batch_sizes` for the last one.
            generator: Of the order, on the CPU.
        """
        order = torch.randperm(len(self), generator=generator).to(self._labels.device)
        for rows in order.split(batch_sizes(len(order), size)):
            self._read("images", rows)
            self._read("labels", rows)
            yield self._images[rows], self._labels[rows]


def draw_rows(labels: Tensor, count: int, random: torch.Generator) -> Tensor:
    """Draw at most `count` rows of each class; their numbers (n,), class by class.

    Args:
        labels: int64 (N,).
        count: rows of each class, at least 1; a class with fewer gives all that it has.
        random: of the draw, on the CPU.
    """
    order = torch.randperm(len(labels), generator=random).to(labels.device)
    return torch.cat([order[labels[order] == c][:count] for c in labels.unique()])


@dataclass(frozen=True)
class Data:
    """Training, validation and test rows of one data set.

    Args:
        train: Rows that networks may be trained on.
        validation: Rows that no network is trained on.
        test: Rows that networks are measured on.
        num_classes: Number of classes.
        fingerprint: Identifies all images and labels.
    """

    train: Split
    validation: Split
    test: Split
    num_classes: int
    fingerprint: str
    _pool: Split
    _held_out: int
    _seal: Seal

    @contextmanager
    def sealed(self) -> Iterator[None]:
        """Make every split raise on access inside the block."""
        self._seal.closed = True
        try:
            yield
        finally:
            self._seal.closed = False

    def train_drawn_by(self, seed: int) -> Split:
        """Return the training rows, in their order, of a run with another seed."""
        order = _draw_order(len(self._pool), seed).to(self._pool.labels.device)
        return self._pool.at(order[self._held_out :])

    def blank_ledger(self) -> Ledger:
        """Return a ledger of the training rows in which nothing is marked."""
        return Ledger.blank(len(self.train), self.train.labels.device)

    def view(
        self, access: Access, forget: tuple[int, ...], ledger: Ledger | None = None
    ) -> Split | None:
        """Return the training rows that an access grants, readable while the rest is sealed.

        Args:
            access: What the method declares.
            forget: The forget classes.
            ledger: Counts what is read of the view. None: a ledger of the view's own.

        Returns:
            None if the access grants no rows.
        """
        classes = {
            "none": (),
            "oracle": (),
            "forget": forget,
            "retain": retain_classes(self.num_classes, forget),
            "all": tuple(range(self.num_classes)),
        }[access]
        if not classes:
            return None
        return self.train.granted(classes, ledger or self.blank_ledger())


def prepare(
    raw: RawImages,
    *,
    num_classes: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    validation: float,
    seed: int,
    device: torch.device,
    memory: float = float("inf"),
) -> Data:
    """Draw the validation rows from the training set, and move the data set to the device.

    Args:
        raw: The images as loaded. Its own validation set, if it has one, is used instead of a draw.
        num_classes: Labels run from 0 to num_classes - 1.
        mean: Mean of each channel, of images scaled to [0, 1].
        std: Standard deviation of each channel, of images scaled to [0, 1].
        validation: Share of the training set in [0, 1), drawn without stratification.
        seed: Of the draw.
        device: Where images are normalised and networks run.
        memory: Bytes. Larger data sets stay where they were loaded, in memory or in a file, and
            are moved to the device by the batch.
    """
    seal, large = Seal(), raw.bytes > memory
    levels = [torch.tensor(values, device=device).view(-1, 1, 1) for values in (mean, std)]

    def split(images: Tensor, labels: Tensor) -> Split:
        pixels = images if large else images.to(device)
        rows = torch.arange(len(labels), device=pixels.device)
        about = Pixels(pixels, levels[0], levels[1], large)
        return Split(Images(about, rows, seal), labels.to(device), seal)

    pool = split(raw.train_images, raw.train_labels)
    order = _draw_order(len(pool), seed).to(device)
    held_out = 0
    if raw.validation_images is not None and raw.validation_labels is not None:
        kept = split(raw.validation_images, raw.validation_labels)
    else:
        held_out = round(validation * len(order))
        kept = pool.at(order[:held_out])
    return Data(
        train=pool.at(order[held_out:]),
        validation=kept,
        test=split(raw.test_images, raw.test_labels),
        num_classes=num_classes,
        fingerprint=raw.fingerprint,
        _pool=pool,
        _held_out=held_out,
        _seal=seal,
    )


def _draw_order(count: int, seed: int) -> Tensor:
    """Return the order in which a seed draws the rows of validation and train, (count,)."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))
