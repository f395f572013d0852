"""Data sets in one NumPy file, laid out as MedMNIST (Yang et al., Scientific Data, 2023) does.

The file holds `train_images`, `train_labels`, `test_images`, `test_labels` and, optionally,
`val_images` and `val_labels`. Images are uint8 of shape (N, H, W) or (N, H, W, C). Labels are
integers of shape (N,) or (N, 1).
"""

import hashlib
import math
import os
import zipfile
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor

from unlearn.data.decoded import Part, load_decoded
from unlearn.data.source import RawImages, require_regular
from unlearn.errors import ConfigError, first_line

_SPLITS = {"train": "train", "test": "test", "validation": "val"}  # our name, and the file's
_NEEDED = ("train_images", "train_labels", "test_images", "test_labels")
_CHUNK_BYTES = 16 * 2**20


def load(root: str, cache: Path | None = None, memory: float = float("inf")) -> RawImages:
    """Load a data set from one `.npz` file.

    Args:
        root: The file.
        cache: Folder in which images larger than `memory` are unpacked.
        memory: Bytes. Smaller data sets are read into memory.

    Raises:
        ConfigError: If the file is missing or damaged, or if its arrays have other names, shapes
            or types.
    """
    file = Path(root).expanduser()
    try:
        require_regular(file)
        parts, shape = _list_parts(file)
        size = sum(len(part.labels) for part in parts.values()) * int(np.prod(shape))
        large = size > memory
        if large and cache is None:
            raise ValueError(f"its images take {size / 1e9:.1f} GB of at most {memory / 1e9:.1f}")
        about = file.stat()
        key = repr((os.path.realpath(file), about.st_size, about.st_mtime_ns))
        name = hashlib.sha256(key.encode("utf-8", "backslashreplace")).hexdigest()[:16]
        return load_decoded(parts, shape, name, cache if large else None, memory)
    except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        reason = f"{file.absolute()} is no readable .npz file of images ({first_line(error)})"
        raise ConfigError("dataset.root", root, reason) from error


def _list_parts(file: Path) -> tuple[dict[str, Part], tuple[int, int, int]]:
    """Return the splits by our names, and the shape (C, H, W) of their images."""
    with zipfile.ZipFile(file) as archive:
        names = {name.removesuffix(".npy") for name in archive.namelist()}
    _require(names)
    parts, sizes = dict[str, Part](), set[tuple[int, int, int]]()
    for ours, split in _SPLITS.items():
        if f"{split}_images" not in names:
            continue
        count, *size = shape = _read_shape(file, split)
        labels = _read_labels(file, split, count)
        parts[ours] = Part(labels, partial(_unpack, file, split, shape))
        sizes.add((size[0], size[1], size[2]))
    if len(sizes) > 1:
        raise ValueError("its splits hold images of different sizes")
    return parts, sizes.pop()


def _require(names: set[str]) -> None:
    """Raise if an array is missing from the file."""
    needed = [*_NEEDED, *(["val_labels"] if "val_images" in names else [])]
    absent = [name for name in needed if name not in names]
    if absent:
        held = ", ".join(sorted(names)[:12]) or "nothing"
        raise ValueError(f"it holds no {absent[0]}; it holds {held}")


def _read_shape(file: Path, split: str) -> tuple[int, int, int, int]:
    """Return the shape (N, C, H, W) that a split's images will have."""
    shape, kind = _read_kind(file, f"{split}_images")
    if 0 in shape:
        raise ValueError(f"{split}_images is of shape {shape}: it is empty")
    if kind != np.uint8:
        raise ValueError(f"{split}_images is of {kind}; allowed is uint8 (0 to 255)")
    if len(shape) == 3:
        return shape[0], 1, shape[1], shape[2]
    if len(shape) == 4 and shape[3] in (1, 3):
        return shape[0], shape[3], shape[1], shape[2]
    allowed = "allowed are (N, H, W), (N, H, W, 1) and (N, H, W, 3)"
    raise ValueError(f"{split}_images is of shape {shape}; {allowed}")


def _read_labels(file: Path, split: str, count: int) -> Tensor:
    """Return a split's labels (N,), which are read once there are as many as images."""
    shape, kind = _read_kind(file, f"{split}_labels")
    if shape[1:] not in ((), (1,)) or shape == () or kind.kind not in "iu":
        found = f"{split}_labels is of shape {shape} and type {kind}"
        raise ValueError(f"{found}; allowed are integers of shape (N,) or (N, 1)")
    if shape[0] != count:
        raise ValueError(f"it holds {count} {split}_images and {shape[0]} {split}_labels")
    with np.load(file, allow_pickle=False) as arrays:
        return torch.from_numpy(arrays[f"{split}_labels"].reshape(-1).astype(np.int64))


def _read_kind(file: Path, name: str) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    """Return shape and type of an array; the size that they give must be that in the archive."""
    with zipfile.ZipFile(file) as archive, archive.open(f"{name}.npy") as member:
        shape, _, kind = _read_header(member)
        expected = member.tell() + math.prod(shape) * kind.itemsize
        size = archive.getinfo(f"{name}.npy").file_size
    if size != expected and kind.kind != "O":
        raise ValueError(f"{name} is of shape {shape}: {expected} bytes, of which it has {size}")
    return shape, kind


def _unpack(file: Path, split: str, shape: tuple[int, int, int, int]) -> Iterator[np.ndarray]:
    """Yield a split's images in order, in arrays of shape (n, C, H, W)."""
    count, channels, height, width = shape
    row = channels * height * width
    with zipfile.ZipFile(file) as archive, archive.open(f"{split}_images.npy") as member:
        _, fortran, _ = _read_header(member)
        if fortran:
            raise ValueError(f"{split}_images is in Fortran order; allowed is C order")
        step = max(1, _CHUNK_BYTES // row)
        for start in range(0, count, step):
            rows = min(step, count - start)
            packed = member.read(rows * row)
            if len(packed) < rows * row:
                raise ValueError(f"{split}_images is cut off")
            values = np.frombuffer(packed, np.uint8).reshape(rows, height, width, channels)
            yield values.transpose(0, 3, 1, 2)


def _read_header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    """Return shape, order and type of an array, and leave the file at its first value."""
    version = np.lib.format.read_magic(member)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(member)
    return np.lib.format.read_array_header_2_0(member)
