"""What every source returns, and the one way to say that its files are not there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unlearn.errors import ConfigError


@dataclass(frozen=True)
class RawImages:
    """One data set as loaded: uint8 images (N, C, H, W) and int64 labels (N,), train and test.

    Raises:
        ValueError: if they are something else.
    """

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor

    def __post_init__(self) -> None:
        """Refuse what is no data set, whoever has loaded it."""
        for images, labels in (
            (self.train_images, self.train_labels),
            (self.test_images, self.test_labels),
        ):
            if images.ndim != 4 or len(images) == 0 or labels.shape != images.shape[:1]:
                found = f"images of shape {[*images.shape]} and labels of shape {[*labels.shape]}"
                raise ValueError(f"{found} make no data set")
            if images.dtype != torch.uint8 or labels.dtype != torch.int64:
                found = f"images are {images.dtype} and labels {labels.dtype}"
                raise ValueError(f"{found}; they must be torch.uint8 (0 to 255) and torch.int64")
            if labels.min() < 0:
                raise ValueError(f"there is a label {int(labels.min())}")


def from_torchvision(
    open_split: Callable[[bool], Any], name: str, root: str, download: bool
) -> RawImages:
    """Read the train and test split of a torchvision data set that keeps its images in `.data`.

    Args:
        open_split: maps "is this the train split" to the torchvision data set.
        name: the data set's config name, for the message.
        root: the folder that was searched.
        download: whether torchvision was allowed to fetch what is missing.

    Raises:
        ConfigError: naming `dataset.root` if the files are missing or damaged.
    """
    try:
        (train, test) = [_as_tensors(open_split(train)) for train in (True, False)]
        return RawImages(*train, *test)
    except Exception as error:  # pickle, zlib, scipy and torchvision each raise kinds of their own
        raise missing(name, root, download, error) from error


def missing(name: str, root: str, download: bool, error: Exception) -> ConfigError:
    """Say where a data set was looked for and the one option that gets it."""
    where = Path(root).expanduser().absolute()
    remedy = "it could not be downloaded" if download else "set dataset.download=true to fetch it"
    return ConfigError(
        "dataset.root",
        root,
        f"no readable {name} data in {where} ({first_line(error)}); {remedy}, "
        "or point dataset.root at a folder that holds it",
    )


def first_line(error: Exception) -> str:
    """What an error says, short enough for a message of one line."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _as_tensors(split: Any) -> tuple[Tensor, Tensor]:
    images = torch.as_tensor(split.data)
    if images.ndim == 3:
        images = images.unsqueeze(1)
    elif images.shape[-1] == 3 and images.shape[1] != 3:
        images = images.permute(0, 3, 1, 2)
    labels = split.targets if hasattr(split, "targets") else split.labels
    return images.contiguous(), torch.as_tensor(np.asarray(labels), dtype=torch.int64)
