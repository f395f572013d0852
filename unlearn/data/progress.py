"""Shows how many images have been decoded: a bar on a terminal, a line now and then in a log."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from unlearn.errors import say

_SECONDS = 30.0  # between two lines in a log


@contextmanager
def count_decoded(total: int, root: str) -> Iterator[Callable[[int], None]]:
    """Yield a function that is told how many more images have been decoded.

    Args:
        total: Number of images.
        root: Folder that they come from.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _write_lines(total, root)
        return
    columns = (TextColumn("{task.description:>12}"), BarColumn(bar_width=24), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        task = progress.add_task("decode", total=total)
        yield lambda more: progress.advance(task, more)


def _write_lines(total: int, root: str) -> Callable[[int], None]:
    """Return a function that writes a line if the last one was 30 s ago."""
    start = last = time.monotonic()
    done = 0

    def count(more: int) -> None:
        nonlocal done, last
        done, now = done + more, time.monotonic()
        if now - last > _SECONDS:
            last, left = now, (now - start) / done * (total - done)
            say(f"{root}: decoded {done} of {total} images, about {left:.0f} s left")

    return count
