"""Values that the runs of a sweep share while they run in one process. Needs no torch."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

Value = TypeVar("Value")

_values: dict[str, Any] | None = None


@contextmanager
def sharing() -> Iterator[None]:
    """Inside the block, make each value once; outside, values are made anew each time."""
    global _values
    _values = {}
    try:
        yield
    finally:
        _values = None


def share(key: str, make: Callable[[], Value]) -> Value:
    """Return the value of a key, made by the first run of the sweep that asks for it.

    Args:
        key: Everything that decides the value, as text.
        make: Makes the value.
    """
    if _values is None:
        return make()
    if key not in _values:
        _values[key] = make()
    value: Value = _values[key]
    return value
