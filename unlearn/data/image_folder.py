"""A user's own images: root/train/CLASS/*.png and root/test/CLASS/*.png."""

import hashlib
import os
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache as remember
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from unlearn.data.class_folders import FORMATS, ImageFile, Listing, list_split, show_name
from unlearn.data.decoded import Part, load_decoded
from unlearn.data.progress import count_decoded
from unlearn.data.source import RawImages
from unlearn.errors import ConfigError, first_line, say

_CHUNK = 64  # files that a worker decodes at a time
_VERSION = 1  # of the decoding: another one makes cached images be decoded again


def load(
    root: str,
    resized: tuple[int, int, int],
    class_folders: int,
    cache: Path | None = None,
    memory: float = float("inf"),
) -> RawImages:
    """Load a folder of images by class, all converted to one size.

    Args:
        root: Folder that holds `train/` and `test/`, each with one folder a class. The label of a
            class is the index of its folder's name in alphabetical order.
        resized: (channels, height, width) of each image after conversion; 1 or 3 channels.
        class_folders: Number of classes that there must be.
        cache: Folder in which decoded images are kept. None: they are not kept.
        memory: Bytes. Larger data sets are read from the cache when they are used.

    Raises:
        ConfigError: If a split is missing, an image cannot be read, or the two splits do not hold
            the same classes, `class_folders` in number.
    """
    splits = {name: list_split(root, name) for name in ("train", "test")}
    train, test = splits.values()
    if train.classes != test.classes:
        raise ConfigError("dataset.root", root, "train/ and test/ must hold the same classes")
    if len(train.classes) != class_folders:
        found = f"{root} holds {len(train.classes)} class folders"
        raise ConfigError("dataset.num_classes", class_folders, f"{found}; the two must agree")
    if resized[0] not in (1, 3):
        reason = "images have 1 channel (grey) or 3 (colour)"
        raise ConfigError("dataset.shape", list(resized), reason)
    parts = {
        name: Part(
            torch.tensor([file.label for file in split.files], dtype=torch.int64),
            partial(_decode_all, split, resized, root),
        )
        for name, split in splits.items()
    }
    key = _digest_listings(root, resized, splits.values())
    return load_decoded(parts, resized, key, cache, memory)


def _digest_listings(root: str, resized: Sequence[int], splits: Iterable[Listing]) -> str:
    """Return what the decoded images depend on: the files, their sizes and times, and the shape."""
    digest = hashlib.sha256(repr((_VERSION, *resized)).encode())
    base = Path(root).expanduser()
    for split in splits:
        for file in split.files:
            place = os.fsencode(file.path.relative_to(base))
            digest.update(repr((place, file.label, file.size, file.changed)).encode())
    return digest.hexdigest()[:16]


def _decode_all(split: Listing, resized: tuple[int, int, int], root: str) -> Iterator[np.ndarray]:
    """Yield the images of a split in order, in arrays (n, C, H, W), decoded by several threads.

    Pillow releases Python's lock while it decodes and resizes, so that threads run side by side.
    """
    if split.others:
        endings = ", ".join(f"{end or 'none'} ({n})" for end, n in sorted(split.others.items()))
        say(f"{root}: files with other endings are ignored: {endings}")
    workers = len(os.sched_getaffinity(0))
    chunks = (split.files[i : i + _CHUNK] for i in range(0, len(split.files), _CHUNK))
    waiting: deque[Future[np.ndarray]] = deque()
    with (
        warnings.catch_warnings(),
        count_decoded(len(split.files), root) as count,
        ThreadPoolExecutor(workers) as pool,
    ):
        # Pillow warns of images above its limit of pixels; here that is an error.
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            for chunk in chunks:
                waiting.append(pool.submit(_decode_chunk, chunk, resized, root))
                if len(waiting) > 2 * workers:
                    count(len(done := waiting.popleft().result()))
                    yield done
            while waiting:
                count(len(done := waiting.popleft().result()))
                yield done
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _decode_chunk(
    files: Sequence[ImageFile], resized: tuple[int, int, int], root: str
) -> np.ndarray:
    images = np.empty((len(files), *resized), dtype=np.uint8)
    for index, file in enumerate(files):
        try:
            images[index] = _decode(file.path, resized)
        except Exception as error:  # Pillow's readers raise as many kinds as there are formats
            reason = f"{show_name(str(file.path.absolute()))} is not a readable image"
            message = f"{reason} ({_explain(error)})"
            raise ConfigError("dataset.root", root, message) from error
    return images


def _explain(error: Exception) -> str:
    if isinstance(error, Image.DecompressionBombWarning | Image.DecompressionBombError):
        most = (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        return f"it has more than {most:.0f} million pixels, the most that are decoded"
    return show_name(first_line(error))


def _decode(path: Path, resized: tuple[int, int, int]) -> np.ndarray:
    """Return an image as uint8 (C, H, W); a smaller or larger one is resized with antialiasing.

    Colour becomes grey by the luma of ITU-R 601. Transparency is dropped. Of an animation the
    first frame is read.
    """
    channels, height, width = resized
    with Image.open(path, formats=_list_formats()) as image:
        shown = _to_rgb(image)
    if channels == 1:
        shown = shown.convert("L")
    pixels = np.asarray(shown.resize((width, height), Image.Resampling.BILINEAR))
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def _to_rgb(image: Image.Image) -> Image.Image:
    """Return an image in 8-bit colour; 16-bit grey, which Pillow would clip, by its upper byte."""
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers, whose range is not known")
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise ValueError("its pixels have more than 16 bits")
        return Image.fromarray((values >> 8).astype(np.uint8)).convert("RGB")
    if "transparency" in image.info:  # Pillow warns if a palette's is dropped without this step
        return image.convert("RGBA").convert("RGB")
    return image.convert("RGB")


@remember
def _list_formats() -> tuple[str, ...]:
    """Return the formats of `FORMATS` that this Pillow was built with."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)
