"""User-facing errors: one line and an exit code."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from unlearn.escape import printable


class UnlearnError(Exception):
    """A failure that one line explains; `exit_code` is what the shell sees."""

    exit_code = 1


class ConfigError(UnlearnError):
    """A setting that cannot be used.

    Args:
        key: Dotted config key, as typed on the command line.
        value: The value that the key holds.
        allowed: What the key may hold, or what to do about it.
    """

    exit_code = 2

    def __init__(self, key: str, value: object, allowed: str) -> None:
        shown = "null" if value is None else str(value).replace("\n", " ")
        super().__init__(f"{key}={shown}: {' '.join(allowed.split())}")
        self.key, self._rest = key, (shown, allowed)

    def __reduce__(self) -> tuple[type[ConfigError], tuple[str, str, str]]:
        """Pickle the error by its parts, so that a job can hand it to its launcher."""
        return type(self), (self.key, *self._rest)


class RunError(UnlearnError):
    """A run that started and could not go on, for example because of a NaN loss."""


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or its type's name if it has none."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def say(line: str) -> None:
    """Print one line to stderr, after the program's name."""
    sys.stderr.write(f"unlearn: {printable(line.strip())}\n")
    sys.stderr.flush()


@contextmanager
def exit_on_error(program: str) -> Iterator[None]:
    """Turn an `UnlearnError` into one line after the program's name, and an exit code."""
    try:
        yield
    except UnlearnError as error:
        sys.stderr.write(f"{program}: {printable(str(error))}\n")
        sys.exit(error.exit_code)


def is_disk_full(error: Exception) -> bool:
    """Return whether an error means that the disk is full, whichever library raised it."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return full or "No space left on device" in str(error)


def explain_full_disk(error: Exception, outputs: str) -> Exception:
    """Return a one-line error for a full disk, and any other error unchanged.

    Args:
        error: The error that was raised.
        outputs: The value of the config key `outputs`.
    """
    if is_disk_full(error):
        return RunError(f"outputs={outputs}: the disk is full; free some space and run again")
    return error
