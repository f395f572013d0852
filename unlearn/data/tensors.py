"""A data set on the device: normalised once, split by seed, and sealed while a method runs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from unlearn.config.schema import retain_classes
from unlearn.data.batches import batch_sizes
from unlearn.data.ledger import Ledger, Page, Read
from unlearn.data.source import RawImages

Access = Literal["none", "oracle", "forget", "retain", "all"]


class DataContractError(RuntimeError):
    """A real image or label was read while the data was sealed."""


@dataclass
class Seal:
    """Shared by all splits of a data set; closed while a method without access is running."""

    closed: bool = False


@dataclass(frozen=True)
class Split:
    """Part of a data set on the device.

    `images` is float32 (N, C, H, W), normalised; `labels` is int64 (N,). Both raise
    `DataContractError` while the seal is closed. What a method is handed has a page of a ledger,
    in which every row is marked whose image or label is read.
    """

    _images: Tensor
    _labels: Tensor
    _seal: Seal = field(default_factory=Seal)
    _page: Page | None = None

    @property
    def images(self) -> Tensor:
        self._read("images")
        return self._images

    @property
    def labels(self) -> Tensor:
        self._read("labels")
        return self._labels

    def __len__(self) -> int:
        return len(self._labels)

    def _read(self, what: Read, rows: Tensor | None = None) -> None:
        """Raise under a closed seal; enter all rows, or some, in the ledger if there is one."""
        if self._seal.closed:
            raise DataContractError("real data was read while a method without access was running")
        if self._page is not None:
            self._page.enter(what, rows)

    def only(self, classes: tuple[int, ...]) -> Split:
        """The rows whose label is one of `classes`, which takes reading the labels of all."""
        return self.at(self._of(classes).nonzero().flatten())

    def at(self, rows: Tensor) -> Split:
        """The rows of these numbers (n,), in their order; no image or label is read for it."""
        page = None if self._page is None else self._page.only(rows)
        return Split(self._images[rows], self._labels[rows], self._seal, page)

    def granted(self, classes: tuple[int, ...], ledger: Ledger) -> Split:
        """The rows of these classes, readable under any seal; `ledger` (of all rows) counts."""
        rows = self._of(classes)
        page = Page(ledger, rows.nonzero().flatten())
        return Split(self._images[rows], self._labels[rows], _page=page)

    def _of(self, classes: tuple[int, ...]) -> Tensor:
        labels = self.labels
        return torch.isin(labels, torch.tensor(classes, device=labels.device))

    def batches(self, size: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch of shuffled batches; see `batch_sizes` for the last one."""
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
    """Train, validation and test of one data set, and what identifies it."""

    train: Split
    validation: Split
    test: Split
    num_classes: int
    fingerprint: str
    _order: Tensor
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
        """The training rows, in their order, of a run with another seed."""
        place = self._order.argsort()  # of each of the data set's rows in validation and train
        held_out = len(self.validation)
        rows = place[_drawn(len(place), seed)[held_out:]].to(self.train.labels.device)
        parts = (self.validation, self.train)
        return Split(
            torch.cat([part.images for part in parts])[rows],
            torch.cat([part.labels for part in parts])[rows],
            self._seal,
        )

    def blank_ledger(self) -> Ledger:
        """A ledger of the training rows."""
        return Ledger.blank(len(self.train), self.train.labels.device)

    def view(
        self, access: Access, forget: tuple[int, ...], ledger: Ledger | None = None
    ) -> Split | None:
        """A copy of the training rows that `access` grants, readable while the rest is sealed.

        What is read of it goes into `ledger`, one of its own if there is none.
        """
        granted = {
            "none": (),
            "oracle": (),
            "forget": forget,
            "retain": retain_classes(self.num_classes, forget),
            "all": tuple(range(self.num_classes)),
        }[access]
        if not granted:
            return None
        return self.train.granted(granted, ledger or self.blank_ledger())


def prepare(
    raw: RawImages,
    *,
    num_classes: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    validation: float,
    seed: int,
    device: torch.device,
) -> Data:
    """Normalise a data set, carve validation from train by seed, and put it on the device.

    Args:
        raw: the images as loaded.
        num_classes: labels run from 0 to num_classes - 1.
        mean: per channel, of images scaled to [0, 1].
        std: per channel, of images scaled to [0, 1].
        validation: share of the training images in [0, 1), drawn without stratification.
        seed: of the draw.
        device: where the tensors go.
    """
    seal = Seal()
    order = _drawn(len(raw.train_labels), seed)
    held_out = round(validation * len(order))

    def split(images: Tensor, labels: Tensor) -> Split:
        return Split(_normalise(images.to(device), mean, std), labels.to(device), seal)

    return Data(
        train=split(raw.train_images[order[held_out:]], raw.train_labels[order[held_out:]]),
        validation=split(raw.train_images[order[:held_out]], raw.train_labels[order[:held_out]]),
        test=split(raw.test_images, raw.test_labels),
        num_classes=num_classes,
        fingerprint=_fingerprint(raw),
        _order=order,
        _seal=seal,
    )


def _drawn(count: int, seed: int) -> Tensor:
    """The order in which a seed deals the rows to validation and train."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


def _normalise(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    shape = (1, -1, 1, 1)
    centre = torch.tensor(mean, device=images.device).view(shape)
    scale = torch.tensor(std, device=images.device).view(shape)
    return (images.float() / 255 - centre) / scale


def _fingerprint(raw: RawImages) -> str:
    digest = hashlib.sha256()
    for tensor in (raw.train_images, raw.train_labels, raw.test_images, raw.test_labels):
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()[:16]
