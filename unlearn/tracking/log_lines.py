"""Progress of a run as lines on stderr, for logs."""

import sys
import threading
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from unlearn.config.schema import RunConfig
from unlearn.errors import ConfigError
from unlearn.tracking.base import Step


class LogLines:
    """Prints a line to stderr when a stage begins and regularly during the stage.

    On a terminal nothing is printed, because the progress bars show the same.

    Args:
        every: Seconds between two lines of a stage, above 0.

    Raises:
        ConfigError: If `every` is not a number above 0.
    """

    def __init__(self, every: float) -> None:
        if not isinstance(every, int | float) or not 0 < every < float("inf"):
            raise ConfigError("tracking.observers.lines.every", every, "seconds, above 0")
        self._every = every
        self._step: Step | None = None
        self._began = 0.0
        self._ended = threading.Event()
        self._prints = False

    def start(self, config: RunConfig, directory: Path, config_hash: str) -> None:
        """Start the thread that prints."""
        self._prints = not sys.stderr.isatty()
        if self._prints:
            threading.Thread(target=self._print_regularly, daemon=True).start()

    def step(self, step: Step) -> None:
        """Store the step, and print a line if it is the first of its stage."""
        previous, self._step = self._step, step
        if previous is None or previous.stage != step.stage:
            self._began = time.monotonic()
            self._print(f"{step.stage} has begun, {step.total} steps")

    def finish(self, record: Mapping[str, Any], directory: Path) -> None:
        """Stop printing."""
        self._ended.set()

    def _print_regularly(self) -> None:
        while not self._ended.wait(self._every):
            self._print(self._describe())

    def _describe(self) -> str:
        step = self._step
        if step is None:
            return "preparing"
        spent = time.monotonic() - self._began
        line = f"{step.stage}: step {step.step} of {step.total}, {_format(spent)} since the first"
        if step.step == step.total:
            return f"{line}; measuring, or waiting for the next stage"
        if step.step == 1:
            return line
        return f"{line}, about {_format(spent * (step.total - step.step) / (step.step - 1))} left"

    def _print(self, line: str) -> None:
        if self._prints:
            sys.stderr.write(f"unlearn: {line}\n")
            sys.stderr.flush()


def _format(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
