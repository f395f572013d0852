"""MNIST and Fashion-MNIST from idx files: in torchvision's folders, or side by side in one."""

import gzip
import struct
import zlib
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
    """Load MNIST (LeCun et al., 1998).

    Args:
        root: Folder in which torchvision looks, or one that holds the four `.gz` files.
        download: Whether torchvision may download missing files.

    Raises:
        ConfigError: If the files are missing or damaged.
    """
    return _load(datasets.MNIST, "mnist", root, download)


def load_fashion_mnist(root: str, download: bool) -> RawImages:
    """Load Fashion-MNIST (Xiao et al., 2017); the arguments are those of `load_mnist`."""
    return _load(datasets.FashionMNIST, "fashion_mnist", root, download)


def _load(kind: type[datasets.MNIST], name: str, root: str, download: bool) -> RawImages:
    folder = Path(root).expanduser()
    if (folder / _IDX_FILES["train"][0]).is_file():
        try:
            return _from_idx_folder(folder)
        except (OSError, EOFError, ValueError, struct.error, zlib.error) as error:
            if not download:
                raise missing(name, root, download, error) from error
    return from_torchvision(
        lambda train: kind(folder, train=train, download=download), name, root, download
    )


def _from_idx_folder(folder: Path) -> RawImages:
    """Read four idx.gz files from one folder, as Debian's package of Fashion-MNIST has them."""
    tensors = []
    for images_file, labels_file in _IDX_FILES.values():
        tensors += [_read_idx(folder / images_file).unsqueeze(1)]
        tensors += [_read_idx(folder / labels_file).long()]
    return RawImages(*tensors)


def _read_idx(path: Path) -> Tensor:
    """Read one gzipped idx file of unsigned bytes (format: yann.lecun.com/exdb/mnist)."""
    with gzip.open(path) as file:
        content = file.read()
    zeros, kind, dimensions = struct.unpack_from(">HBB", content)
    if zeros != 0 or kind != 8 or dimensions == 0:
        raise ValueError(f"{path.name} is not an idx file of unsigned bytes")
    shape = struct.unpack_from(f">{dimensions}I", content, 4)
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions)
    if values.size != int(np.prod(shape)):
        raise ValueError(f"{path.name} holds {values.size} bytes, its header says {shape}")
    return torch.from_numpy(values.reshape(shape).copy())
