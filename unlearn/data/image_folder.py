"""A user's own images: root/train/CLASS/*.png and root/test/CLASS/*.png."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import datasets, transforms
from torchvision.transforms import InterpolationMode

from unlearn.data.source import RawImages, first_line
from unlearn.errors import ConfigError


def load(root: str, resized: tuple[int, int, int], class_folders: int) -> RawImages:
    """Load a folder of images by class, all of one size.

    Args:
        root: holds `train/` and `test/`, each with one folder a class. Classes are numbered in
            the alphabetical order of their folders' names.
        resized: (channels, height, width) that every image is converted to; 1 or 3 channels.
        class_folders: how many there must be.

    Raises:
        ConfigError: if a split is missing, an image cannot be read, or the two splits name other
            or another number of classes.
    """
    convert = transforms.Compose(
        [
            *([transforms.Grayscale()] if resized[0] == 1 else []),
            transforms.Resize(resized[1:], InterpolationMode.BILINEAR, antialias=True),
            transforms.PILToTensor(),
        ]
    )
    splits = [_open(Path(root).expanduser() / part, convert, root) for part in ("train", "test")]
    if splits[0].classes != splits[1].classes:
        raise ConfigError("dataset.root", root, "train/ and test/ must hold the same classes")
    if len(splits[0].classes) != class_folders:
        found = f"{root} holds {len(splits[0].classes)} class folders"
        raise ConfigError("dataset.num_classes", class_folders, f"{found}; the two must agree")
    (train, test) = [_as_tensors(split, root) for split in splits]
    return RawImages(*train, *test)


def _read(path: str) -> Image.Image:
    """An image in colour; grey of 16 bits, which Pillow would clip at 255, by its upper eight."""
    with Image.open(path) as image:
        if image.mode.startswith("I"):
            return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
        return image.convert("RGB")


def _open(folder: Path, convert: transforms.Compose, root: str) -> datasets.ImageFolder:
    try:
        return datasets.ImageFolder(folder, transform=convert, loader=_read)
    except OSError as error:
        raise ConfigError(
            "dataset.root",
            root,
            f"{folder.absolute()} must hold one folder of images a class ({first_line(error)})",
        ) from error


def _as_tensors(split: datasets.ImageFolder, root: str) -> tuple[Tensor, Tensor]:
    images = []
    for index, (path, _) in enumerate(split.samples):
        try:
            images.append(split[index][0])
        except Exception as error:  # Pillow's readers raise as many kinds as there are formats
            reason = f"{Path(path).absolute()} is not a readable image ({first_line(error)})"
            raise ConfigError("dataset.root", root, reason) from error
    return torch.stack(images), torch.tensor(split.targets, dtype=torch.int64)
