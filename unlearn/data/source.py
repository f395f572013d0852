"""What every loader of a data set returns, and the error for files that are not there."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unlearn.errors import ConfigError, first_line


@dataclass(frozen=True)
class RawImages:
    """A data set as its files have it.

    Images are uint8 of shape (N, C, H, W); labels are int64 of shape (N,).

    Args:
        train_images: Images of the training set.
        train_labels: Their classes.
        test_images: Images of the test set.
        test_labels: Their classes.
        validation_images: Images that no network is trained on, or None. If they are given, none
            are drawn from the training set.
        validation_labels: Their classes, or None.

    Raises:
        ValueError: If a tensor has another shape or type.
    """

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    validation_images: Tensor | None = None
    validation_labels: Tensor | None = None

    def __post_init__(self) -> None:
        """Check shapes and types, whichever loader has made them."""
        for images, labels in self._splits():
            if images.ndim != 4 or len(images) == 0 or labels.shape != images.shape[:1]:
                found = f"images of shape {[*images.shape]} and labels of shape {[*labels.shape]}"
                raise ValueError(f"{found} make no data set")
            if images.dtype != torch.uint8 or labels.dtype != torch.int64:
                found = f"images are {images.dtype} and labels {labels.dtype}"
                raise ValueError(f"{found}; they must be torch.uint8 (0 to 255) and torch.int64")
            if labels.min() < 0:
                raise ValueError(f"there is a label {int(labels.min())}")

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hex digits that identify all images and labels in their order."""
        digest = hashlib.sha256()
        for split in self._splits():
            for tensor in split:
                digest.update(tensor.contiguous().numpy().data)
        return digest.hexdigest()[:16]

    @property
    def bytes(self) -> int:
        """Size of all images in memory."""
        return sum(images.numel() for images, _ in self._splits())

    def _splits(self) -> list[tuple[Tensor, Tensor]]:
        """Return images and labels of train, test and, if there is one, validation."""
        splits = [(self.train_images, self.train_labels), (self.test_images, self.test_labels)]
        if self.validation_images is not None and self.validation_labels is not None:
            splits.append((self.validation_images, self.validation_labels))
        return splits


def from_torchvision(
    open_split: Callable[[bool], Any], name: str, root: str, download: bool
) -> RawImages:
    """Read both splits of a torchvision data set that keeps its images in `.data`.

    Args:
        open_split: Returns torchvision's data set: the training set if its argument is True, the
            test set otherwise.
        name: Name of the data set in the config, for the message.
        root: Folder in which torchvision looks.
        download: Whether torchvision may download missing files.

    Raises:
        ConfigError: If the files are missing or damaged; it names `dataset.root`.
    """
    try:
        (train, test) = [_as_tensors(open_split(train)) for train in (True, False)]
        return RawImages(*train, *test)
    except Exception as error:  # pickle, zlib, scipy and torchvision each raise kinds of their own
        raise missing(name, root, download, error) from error


def missing(name: str, root: str, download: bool, error: Exception) -> ConfigError:
    """Return the error for a data set that cannot be read, and the option that downloads it.

    Args:
        name: Name of the data set in the config.
        root: Folder that was searched.
        download: Whether a download was allowed.
        error: The error that the reader raised.
    """
    where = Path(root).expanduser().absolute()
    remedy = "it could not be downloaded" if download else "set dataset.download=true to fetch it"
    return ConfigError(
        "dataset.root",
        root,
        f"no readable {name} data in {where} ({first_line(error)}); {remedy}, "
        "or point dataset.root at a folder that holds it",
    )


def require_regular(path: Path) -> None:
    """Raise `ValueError` for a pipe or a device, which may never end."""
    if path.exists() and not path.is_file():
        raise ValueError(f"{path.name} is no regular file")


def _as_tensors(split: Any) -> tuple[Tensor, Tensor]:
    images = torch.as_tensor(split.data)
    if images.ndim == 3:
        images = images.unsqueeze(1)
    elif images.shape[-1] == 3 and images.shape[1] != 3:
        images = images.permute(0, 3, 1, 2)
    labels = split.targets if hasattr(split, "targets") else split.labels
    return images.contiguous(), torch.as_tensor(np.asarray(labels), dtype=torch.int64)
