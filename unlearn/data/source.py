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
    """One data set as loaded: uint8 images (N, C, H, W) and int64 labels (N,), train and test."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor


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
        splits = [open_split(True), open_split(False)]
    except (RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        raise missing(name, root, download, error) from error
    (train, test) = [_as_tensors(split) for split in splits]
    return RawImages(*train, *test)


def missing(name: str, root: str, download: bool, error: Exception) -> ConfigError:
    """Say where a data set was looked for and the one option that gets it."""
    where = Path(root).expanduser().absolute()
    remedy = "it could not be downloaded" if download else "set dataset.download=true to fetch it"
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return ConfigError(
        "dataset.root",
        root,
        f"no readable {name} data in {where} ({reason}); {remedy}, "
        "or point dataset.root at a folder that holds it",
    )


def _as_tensors(split: Any) -> tuple[Tensor, Tensor]:
    images = torch.from_numpy(np.array(split.data, dtype=np.uint8))
    if images.ndim == 3:
        images = images.unsqueeze(1)
    elif images.shape[-1] == 3 and images.shape[1] != 3:
        images = images.permute(0, 3, 1, 2)
    labels = split.targets if hasattr(split, "targets") else split.labels
    return images.contiguous(), torch.as_tensor(np.asarray(labels), dtype=torch.int64)
