"""The protocol of an observer, and the steps that it is given."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from unlearn.config.schema import RunConfig


@dataclass(frozen=True)
class Step:
    """One step of any stage of a run.

    Args:
        stage: Name of the stage: `teacher`, `retrained`, or a stage of the method.
        step: Number of the step, from 1.
        total: Number of steps of the stage.
        scalars: Losses and rates; they stay on the device until they are read.
        observed: Figures of the student, if it was measured at this step: test accuracies in
            percent (`retain`, `forget`) and figures without data (`proxy.retain`, ...).
    """

    stage: str
    step: int
    total: int
    scalars: Mapping[str, Tensor | float] = field(default_factory=dict)
    observed: Mapping[str, float | None] = field(default_factory=dict)

    def read(self) -> dict[str, float | None]:
        """Return all values as numbers; this waits for the device."""
        read: dict[str, float | None] = {k: float(v) for k, v in self.scalars.items()}
        return read | dict(self.observed)


class Observer(Protocol):
    """Is told of the start, the steps and the end of a run."""

    def start(self, config: RunConfig, directory: Path, config_hash: str) -> None:
        """Called when a run begins; `directory` is where its files are written."""
        ...

    def step(self, step: Step) -> None:
        """Called after each step."""
        ...

    def finish(self, record: Mapping[str, Any], directory: Path) -> None:
        """Called when the run has ended, complete or failed; its files are in `directory`."""
        ...
