"""MNIST and Fashion-MNIST from idx files: in torchvision's folders, or side by side in one."""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision import datasets

from unlearn.data.source import RawImages, from_torchvision, missing, require_regular

_MOST_BYTES = 2**30  # of an unpacked file; the largest that is published has 47 million
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
    require_regular(path)
    with gzip.open(path) as file:
        zeros, kind, dimensions = struct.unpack(">HBB", file.read(4))
        if zeros != 0 or kind != 8 or not 0 < dimensions < 4:
            raise ValueError(f"{path.name} is not an idx file of unsigned bytes")
        shape = struct.unpack(f">{dimensions}I", file.read(4 * dimensions))
        size = math.prod(shape)
        if size > _MOST_BYTES:
            raise ValueError(f"{path.name} says {shape}, more than {_MOST_BYTES} bytes")
        content = file.read(size + 1)  # at the end of the file gzip compares its sum
    if len(content) != size:
        held = f"more than {size}" if len(content) > size else str(len(content))
        raise ValueError(f"{path.name} holds {held} bytes, its header says {shape}")
    return torch.from_numpy(np.frombuffer(content, np.uint8).reshape(shape).copy())
