"""MNIST and Fashion-MNIST from idx files, through torchvision or straight from a folder."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision import datasets

from unlearn.data.source import RawImages, from_torchvision, missing

_IDX_FILES = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}


def load_mnist(root: str, download: bool) -> RawImages:
    """Load MNIST (LeCun et al., 1998) with torchvision from `root`."""
    return _load(datasets.MNIST, "mnist", root, download)


def load_fashion_mnist(root: str, download: bool) -> RawImages:
    """Load Fashion-MNIST (Xiao et al., 2017) with torchvision from `root`."""
    return _load(datasets.FashionMNIST, "fashion_mnist", root, download)


def _load(kind: type[datasets.MNIST], name: str, root: str, download: bool) -> RawImages:
    folder = Path(root).expanduser()
    if (folder / _IDX_FILES["train"][0]).is_file():
        return _from_idx_folder(name, folder)
    return from_torchvision(
        lambda train: kind(folder, train=train, download=download), name, root, download
    )


def _from_idx_folder(name: str, folder: Path) -> RawImages:
    """Read the four idx.gz files lying flat in a folder, as Debian packages Fashion-MNIST."""
    try:
        tensors = [_read_idx(folder / file) for pair in _IDX_FILES.values() for file in pair]
    except (OSError, EOFError, ValueError, struct.error) as error:
        raise missing(name, str(folder), False, error) from error
    train_images, train_labels, test_images, test_labels = tensors
    return RawImages(
        train_images.unsqueeze(1),
        train_labels.long(),
        test_images.unsqueeze(1),
        test_labels.long(),
    )


def _read_idx(path: Path) -> Tensor:
    """Read one gzipped idx file of unsigned bytes (format: yann.lecun.com/exdb/mnist)."""
    with gzip.open(path) as file:
        content = file.read()
    zeros, kind, dimensions = struct.unpack_from(">HBB", content)
    if zeros != 0 or kind != 8:
        raise ValueError(f"{path.name} is not an idx file of unsigned bytes")
    shape = struct.unpack_from(f">{dimensions}I", content, 4)
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions)
    if values.size != int(np.prod(shape)):
        raise ValueError(f"{path.name} is truncated")
    return torch.from_numpy(values.reshape(shape).copy())
