"""What can be the user's to mend: each error is one line, with an exit code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


class UnlearnError(Exception):
    """A failure that one line explains; `exit_code` is what the shell sees."""

    exit_code = 1


class ConfigError(UnlearnError):
    """A setting that cannot be used.

    Args:
        key: dotted config key, as typed on the command line.
        value: what it holds.
        allowed: what it may hold, or what to do about it.
    """

    exit_code = 2

    def __init__(self, key: str, value: object, allowed: str) -> None:
        shown = "null" if value is None else str(value).replace("\n", " ")
        super().__init__(f"{key}={shown}: {' '.join(allowed.split())}")
        self.key, self._rest = key, (shown, allowed)

    def __reduce__(self) -> tuple[type[ConfigError], tuple[str, str, str]]:
        """Pickled by its parts, so that a job can hand it to whoever launched it."""
        return type(self), (self.key, *self._rest)


class RunError(UnlearnError):
    """A run that started rightly and could not go on (a NaN loss, a starved gate)."""


def say(line: str) -> None:
    """Tell the user one line, on stderr."""
    sys.stderr.write("unlearn: " + " ".join(line.split()) + "\n")
    sys.stderr.flush()


@contextmanager
def one_line(program: str) -> Iterator[None]:
    """Turn an `UnlearnError` into one line that the program's name begins, and an exit code."""
    try:
        yield
    except UnlearnError as error:
        sys.stderr.write(f"{program}: {error}\n")
        sys.exit(error.exit_code)
