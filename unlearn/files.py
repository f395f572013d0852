"""Atomic, durable writing of files, and removal of temporary files."""

import errno
import hashlib
import os
import re
import socket
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TypeVar

from unlearn.errors import say

_Content = TypeVar("_Content")

_TEMPORARY = re.compile(r"\.((?P<host>[^.]+)-)?(?P<process>\d+)\.tmp$")
_DAY = 86_400  # seconds after which a temporary file of another machine counts as left over
# Errors of file systems that cannot sync folders.
_NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES}
# What reading a file may raise, whatever it holds.
_DAMAGE = (
    *(OSError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError),
    *(EOFError, RecursionError, NotImplementedError, MemoryError),
)


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under a temporary name, sync it to the disk, and rename it.

    Whoever reads `path` finds the old file or the whole new one, after a power cut too. The
    file's permissions follow the umask, whatever the library that writes it does.

    Args:
        path: The file.
        write: Writes the content to the path that it is given.
    """
    temporary = path.with_name(f".{path.name}.{_host()}-{os.getpid()}.tmp")
    try:
        temporary.touch()
        mode = stat.S_IMODE(temporary.stat().st_mode)
        write(temporary)
        temporary.chmod(mode)
        sync_file(temporary)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """Wait until the content of a file is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk, where the file system can do that."""
    try:
        sync_file(path)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, and wait until their names are on the disk."""
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in reversed(new):
        sync_folder(path.parent)


def sync_tree(folder: Path) -> None:
    """Wait until every file below a folder is on the disk; links are not followed."""
    for place, _, names in os.walk(folder):
        for name in names:
            file = Path(place, name)
            if stat.S_ISREG(file.lstat().st_mode):
                sync_file(file)
        sync_folder(Path(place))


def remove_leftovers(folder: Path, *, locked: bool) -> None:
    """Remove the temporary files that killed processes left in a folder.

    Args:
        folder: The folder; files in its folders stay.
        locked: Whether the caller holds the folder's lock, so that every temporary file in it is
            left over. Otherwise those of running processes stay.
    """
    for file in folder.glob(".*.tmp"):
        with suppress(OSError):
            if file.is_file() and (locked or _is_left_over(file)):
                file.unlink()


def _host() -> str:
    return socket.gethostname().partition(".")[0]


def _is_left_over(file: Path) -> bool:
    """Return whether the process that writes a temporary file is gone."""
    found = _TEMPORARY.search(file.name)
    if found is None:
        return False
    if found["host"] not in (None, _host()):
        return time.time() - file.stat().st_mtime > _DAY
    try:
        os.kill(int(found["process"]), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:  # another user's process is running
        return False
    return False


def digest_file(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def report_damage(path: Path, reason: str, instead: str) -> None:
    """Print that a file cannot be used, once a process.

    Args:
        path: The file.
        reason: What is wrong with it.
        instead: What is done about it.
    """
    say(f"{path}: damaged ({reason}); {instead}")


def read_file(
    path: Path, read: Callable[[Path], _Content], inside: Path | None = None
) -> _Content | None:
    """Return what is read from a file, None if it is not there or cannot be read.

    Args:
        path: The file. One that is there and cannot be read is named on stderr.
        read: Reads it; may raise whatever damaged content leads to.
        inside: A folder in which the file must lie, wherever links lead.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ValueError("no regular file")
        if inside is not None and not path.resolve().is_relative_to(inside.resolve()):
            raise ValueError(f"a link to a file outside {inside.name}")
        return read(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except _DAMAGE as error:
        report_damage(path, str(error) or type(error).__name__, "left out")
        return None
