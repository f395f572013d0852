"""Lists the files of an image folder, class by class. Needs no torch and reads no image."""

import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from unlearn.errors import ConfigError

# Endings of the formats that Pillow decodes without another program, and the formats.
FORMATS = {
    "AVIF": (".avif",),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "JPEG2000": (".jp2", ".j2k", ".jpx"),
    "PCX": (".pcx",),
    "PNG": (".png",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "TGA": (".tga",),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
}
_ENDINGS = tuple(ending for endings in FORMATS.values() for ending in endings)


@dataclass(frozen=True)
class ImageFile:
    """One image file of a class.

    Args:
        path: Where it was found.
        label: Index of its class.
        size: In bytes.
        changed: When it was last changed, in nanoseconds since 1970.
    """

    path: Path
    label: int
    size: int
    changed: int


@dataclass
class Listing:
    """The images of one split, in the order of torchvision's `ImageFolder`.

    Args:
        classes: Names of the class folders, sorted; the index of a name is the class's label.
        files: Sorted by label, then by folder, then by file name.
        others: How many files of each other ending were ignored.
    """

    classes: tuple[str, ...]
    files: list[ImageFile]
    others: Counter[str] = field(default_factory=Counter)


def list_classes(root: str) -> tuple[str, ...]:
    """Return the names of the classes of an image folder: those of the folders in `root/train`.

    Args:
        root: The folder that holds `train/` and `test/`.

    Raises:
        ConfigError: If `root/train` cannot be listed or holds no folder.
    """
    folder = Path(root).expanduser() / "train"
    return tuple(show_name(name) for name in _list_folders(folder, root))


def show_name(name: str) -> str:
    """Return a file name that can be printed and stored: its unprintable characters are escaped."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def list_split(root: str, split: str) -> Listing:
    """List the images of `root/SPLIT/CLASS/`, and of the folders below it.

    Names that begin with a dot are ignored, and so is everything but regular files with the ending
    of an image format. A link to a folder is followed unless that folder holds the link. Each real
    file counts once.

    Args:
        root: The folder that holds `train/` and `test/`.
        split: `train` or `test`.

    Raises:
        ConfigError: If a folder cannot be listed, a class has no image, a link leads nowhere, or
            two classes hold the same real file.
    """
    folder = Path(root).expanduser() / split
    names = _list_folders(folder, root)
    listing = Listing(tuple(show_name(name) for name in names), [])
    owners: dict[str, int] = {}
    above = (os.path.realpath(folder.parent), os.path.realpath(folder))
    try:
        for label, name in enumerate(names):
            _add_class(listing, folder / name, label, above, owners, root)
    except OSError as error:
        raise ConfigError("dataset.root", root, f"cannot be listed ({error})") from error
    return listing


def _list_folders(folder: Path, root: str) -> list[str]:
    names, reason = list[str](), "there is no folder in it"
    try:
        with os.scandir(folder) as entries:
            names = sorted(e.name for e in entries if _is_folder(e))
    except OSError as error:
        reason = str(error.strerror)
    if not names:
        message = f"{folder.absolute()} must hold one folder of images a class ({reason})"
        raise ConfigError("dataset.root", root, message)
    return names


def _add_class(
    listing: Listing,
    folder: Path,
    label: int,
    above: tuple[str, ...],
    owners: dict[str, int],
    root: str,
) -> None:
    """Add the images of one class to a listing.

    Args:
        listing: What the images are added to.
        folder: The class's folder.
        label: The class's index.
        above: Real paths of the folders that hold the class's folder.
        owners: Maps the real path of each image so far to its class.
        root: The value of `dataset.root`, for the messages.
    """
    count, seen = len(listing.files), set[str]()
    # Sorted by folder and then by name, as torchvision does; the first path of a real file counts.
    for inner in sorted(_walk(str(folder), above, set())):
        real_folder = os.path.realpath(inner)
        with os.scandir(inner) as entries:
            found = sorted((e for e in entries if _is_image(e, listing, root)), key=_name)
        for entry in found:
            linked = entry.is_symlink()
            real = os.path.realpath(entry.path) if linked else f"{real_folder}/{entry.name}"
            owner = owners.setdefault(real, label)
            if owner != label:
                both = f"{listing.classes[owner]} and {listing.classes[label]}"
                reason = f"the classes {both} hold the same file, {show_name(real)}"
                raise ConfigError("dataset.root", root, reason)
            if real in seen:
                continue
            seen.add(real)
            about = entry.stat()
            listing.files.append(
                ImageFile(Path(entry.path), label, about.st_size, about.st_mtime_ns)
            )
    if len(listing.files) == count:
        reason = f"{show_name(str(folder.absolute()))} holds no image ({', '.join(_ENDINGS)})"
        raise ConfigError("dataset.root", root, reason)


def _walk(folder: str, above: tuple[str, ...], visited: set[str]) -> Iterator[str]:
    """Yield a folder and all below it: each real folder once, and none that holds a link to it."""
    real = os.path.realpath(folder)
    if real in visited or any(os.path.commonpath((real, upper)) == real for upper in above):
        return
    visited.add(real)
    yield folder
    with os.scandir(folder) as entries:
        inner = sorted(e.path for e in entries if _is_folder(e))
    for path in inner:
        yield from _walk(path, (*above, real), visited)


def _is_image(entry: os.DirEntry[str], listing: Listing, root: str) -> bool:
    """Return whether an entry is an image by its ending; count what is another regular file."""
    if entry.name[0] == ".":
        return False
    ending = os.path.splitext(entry.name)[1].lower()
    try:
        regular = stat.S_ISREG(entry.stat().st_mode)
    except OSError as error:  # a link to no file, or to itself
        if ending not in _ENDINGS:
            return False
        reason = f"{show_name(os.path.abspath(entry.path))} cannot be read ({error.strerror})"
        raise ConfigError("dataset.root", root, reason) from error
    if regular and ending not in _ENDINGS:
        listing.others[show_name(ending)] += 1
    return regular and ending in _ENDINGS


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.name[0] != "." and entry.is_dir()
    except OSError:  # a link to itself
        return False


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name
