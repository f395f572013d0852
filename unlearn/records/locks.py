"""Locks between processes: refused at once where there can be none, and waited for aloud."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from unlearn.errors import say

_SILENT = 1.0  # seconds to wait without a word
_HELD = {errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK}


def is_held(lock: Path) -> bool:
    """Return whether a process holds a lock; needs no right to write."""
    try:
        descriptor = os.open(lock, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in _HELD
    finally:
        os.close(descriptor)
    return False


@contextmanager
def hold(lock: Path, folder: Path) -> Iterator[None]:
    """Hold a lock; wait for another process that holds it, and say so.

    Args:
        lock: The lock's file, made if it is not there.
        folder: What the lock protects, as named to the user.

    Raises:
        OSError: If the file cannot be written, or the file system has no locks.
    """
    os.close(os.open(lock, os.O_RDWR | os.O_CREAT, 0o666))  # fails at once where it cannot be made
    held = FileLock(lock)
    try:
        _acquire(held, lock, folder)
    except NotImplementedError as error:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK), str(lock)) from error
    try:
        yield
    finally:
        held.release()


def _acquire(held: FileLock, lock: Path, folder: Path) -> None:
    try:
        held.acquire(timeout=_SILENT)
    except Timeout:
        if not is_held(lock):  # released just now, or it cannot be locked at all
            try:
                held.acquire(timeout=10 * _SILENT)
            except Timeout:
                pass
            else:
                return
            if not is_held(lock):
                raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK), str(lock)) from None
        say(f"{folder}: waiting for another process that works on it")
        held.acquire()
