"""Keeps decoded images in files, so that images are decoded once and may exceed the memory."""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor

from unlearn.data.source import RawImages
from unlearn.errors import ConfigError, is_disk_full, say
from unlearn.files import remove_leftovers, replace_file

_SPARE_BYTES = 8 * 2**20
_NOTE = "images.json"


@dataclass(frozen=True)
class Part:
    """One split of a data set that is still to be decoded.

    Args:
        labels: int64 (N,), in the order of the images.
        decode: Yields the images in order, as uint8 arrays of shape (n, C, H, W).
    """

    labels: Tensor
    decode: Callable[[], Iterable[np.ndarray]]


def load_decoded(
    parts: Mapping[str, Part],
    shape: tuple[int, int, int],
    key: str,
    cache: Path | None,
    memory: float,
) -> RawImages:
    """Return decoded images: from the cache if they are there, and newly decoded otherwise.

    Args:
        parts: `train`, `test`, and `validation` if the data set has one.
        shape: (channels, height, width) of each image.
        key: Names the cache entry. It must change whenever the images do.
        cache: Folder of the cache. None: images are decoded into memory and not kept.
        memory: Bytes. Larger data sets stay in the file and are read when they are used.

    Raises:
        ConfigError: If the cache cannot be written, or as `decode` raises.
    """
    if cache is None:
        return _as_raw({name: _gather(part, shape) for name, part in parts.items()}, parts)
    folder = cache / f"images-{key}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            found = _read(folder, parts, shape, memory)
            if found is None:
                remove_leftovers(folder, locked=True)
                _write(folder, parts, shape)
                found = _read(folder, parts, shape, memory)
    except OSError as error:
        reason = "the disk is full" if is_disk_full(error) else f"cannot be written ({error})"
        raise ConfigError("outputs", str(cache.parent), reason) from error
    if found is None:
        reason = f"{folder} does not hold what was written to it; check the disk"
        raise ConfigError("outputs", str(cache.parent), reason)
    return found


def _gather(part: Part, shape: tuple[int, int, int]) -> np.ndarray:
    images, filled = np.empty((len(part.labels), *shape), dtype=np.uint8), 0
    for some in part.decode():
        images[filled : filled + len(some)] = some
        filled += len(some)
    return images


def _as_raw(images: Mapping[str, np.ndarray], parts: Mapping[str, Part]) -> RawImages:
    tensors = {
        f"{name}_{what}": values
        for name, part in parts.items()
        for what, values in (("images", torch.from_numpy(images[name])), ("labels", part.labels))
    }
    return RawImages(**tensors)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the entry's lock; if another process holds it, say so and wait."""
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"{folder}: waiting for another process that decodes the same images")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _read(
    folder: Path, parts: Mapping[str, Part], shape: tuple[int, int, int], memory: float
) -> RawImages | None:
    """Return the images of a complete entry; None if there is none, or if it is damaged."""
    note = folder / _NOTE
    if not note.exists():
        return None
    rows = {name: len(part.labels) for name, part in parts.items()}
    mapped = sum(rows.values()) * int(np.prod(shape)) > memory
    try:
        digest = json.loads(note.read_text())["digest"]
        images = {
            name: np.load(folder / f"{name}.npy", mmap_mode="c" if mapped else None)
            for name in parts
        }
        fits = all(images[name].shape == (rows[name], *shape) for name in parts)
        raw = _as_raw(images, parts) if fits else None
    except (OSError, ValueError, KeyError, TypeError):
        raw = None
    if raw is None or raw.fingerprint != digest:
        say(f"{folder}: the decoded images are damaged and are decoded again")
        return None
    return raw


def _write(folder: Path, parts: Mapping[str, Part], shape: tuple[int, int, int]) -> None:
    """Decode all parts into the entry; the note, which vouches for the others, comes last."""
    note = folder / _NOTE
    note.unlink(missing_ok=True)
    _require_space(folder, sum(len(p.labels) for p in parts.values()) * int(np.prod(shape)))
    for name, part in parts.items():
        replace_file(folder / f"{name}.npy", partial(_write_part, part, shape))
    mapped = {name: np.load(folder / f"{name}.npy", mmap_mode="c") for name in parts}
    about = json.dumps({"digest": _as_raw(mapped, parts).fingerprint})
    replace_file(note, lambda path: path.write_text(about))


def _write_part(part: Part, shape: tuple[int, int, int], path: Path) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(part.labels), *shape)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for images in part.decode():
            file.write(np.ascontiguousarray(images).data)


def _require_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed + _SPARE_BYTES:
        reason = f"{free / 1e9:.2f} GB free; the decoded images take {needed / 1e9:.2f} GB"
        raise ConfigError("outputs", str(folder.parents[1]), reason)
