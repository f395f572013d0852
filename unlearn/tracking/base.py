"""What an observer is told."""

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
        stage: `teacher`, `retrained`, or a stage of the method.
        step: from 1.
        total: steps of the stage.
        scalars: losses and rates, on the device until somebody reads them.
        observed: of the student where the runner looked: test accuracies in percent (`retain`,
            `forget`), and figures without data (`proxy.retain`, ...).
    """

    stage: str
    step: int
    total: int
    scalars: Mapping[str, Tensor | float] = field(default_factory=dict)
    observed: Mapping[str, float | None] = field(default_factory=dict)

    def read(self) -> dict[str, float | None]:
        """All values as numbers; waits for the device."""
        read: dict[str, float | None] = {k: float(v) for k, v in self.scalars.items()}
        return read | dict(self.observed)


class Observer(Protocol):
    """Listens to a run from its start to its end."""

    def start(self, config: RunConfig, directory: Path, config_hash: str) -> None:
        """A run begins; `directory` is where its files are being written."""
        ...

    def step(self, step: Step) -> None:
        """A step is done."""
        ...

    def finish(self, record: Mapping[str, Any], directory: Path) -> None:
        """The run is over, complete or failed; its files are in `directory`."""
        ...
