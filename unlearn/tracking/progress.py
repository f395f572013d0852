"""Progress bars on the terminal, with losses, pass rate and the student's accuracies."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.progress import TimeRemainingColumn as Remaining

from unlearn.config.schema import RunConfig
from unlearn.tracking.base import Step

_NAMES = {"retain": "D_r", "forget": "D_f"}  # shown names of the measured figures
_READ_EVERY = 0.5  # seconds between reads of the scalars: each waits for the device


class ProgressBar:
    """Shows one progress bar per stage."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description:>12}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            Remaining(),
            TextColumn("{task.fields[values]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None
        self._stage = ""
        self._seen: dict[str, float | None] = {}
        self._read_at = 0.0

    def start(self, config: RunConfig, directory: Path, config_hash: str) -> None:
        """Show the bars."""
        self._progress.start()

    def step(self, step: Step) -> None:
        """Advance the stage's bar."""
        if step.stage != self._stage:
            self._stage, self._seen, self._read_at = step.stage, {}, 0.0
            self._task = self._progress.add_task(step.stage, total=step.total, values="")
        assert self._task is not None
        now = time.monotonic()
        last = step.step == step.total
        if step.observed or last or now - self._read_at > _READ_EVERY:
            self._read_at = now
            names = {*step.scalars, *_NAMES}
            self._seen |= {k: v for k, v in step.read().items() if k in names}
        self._progress.update(self._task, completed=step.step, values=_shown(self._seen))

    def finish(self, record: Mapping[str, Any], directory: Path) -> None:
        """Stop the bars."""
        self._progress.stop()


def _shown(values: Mapping[str, float | None]) -> str:
    return "  ".join(
        f"{_NAMES.get(name, name)} {value:.4g}"
        for name, value in values.items()
        if value is not None
    )
