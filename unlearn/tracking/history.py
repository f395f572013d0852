"""The history of a run: every step's scalars and observations, as one Parquet file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn.config.schema import RunConfig
from unlearn.tracking.base import Step

if TYPE_CHECKING:
    import pandas as pd


class History:
    """Keeps every step in memory, on the device, and writes them as one Parquet file."""

    def __init__(self) -> None:
        self._steps: list[Step] = []

    def start(self, config: RunConfig, directory: Path, config_hash: str) -> None:
        """Nothing to prepare."""

    def step(self, step: Step) -> None:
        """Keep the step."""
        self._steps.append(step)

    def finish(self, record: Mapping[str, Any], directory: Path) -> None:
        """Write history.parquet: stage, step, a column a scalar and a figure of the looks."""
        self.frame().to_parquet(directory / "history.parquet", index=False)

    def stages(self) -> set[str]:
        """Names of the stages that have begun."""
        return {step.stage for step in self._steps}

    def plain(self) -> list[dict[str, Any]]:
        """The steps as plain values, from which each can be made again."""
        return [
            {
                "stage": step.stage,
                "step": step.step,
                "total": step.total,
                "scalars": {name: float(value) for name, value in step.scalars.items()},
                "observed": dict(step.observed),
            }
            for step in self._steps
        ]

    def frame(self) -> pd.DataFrame:
        """The steps as a pandas data frame."""
        import pandas as pd

        rows = [{"stage": s.stage, "step": s.step, **s.read()} for s in self._steps]
        return pd.DataFrame(rows, columns=None if rows else ["stage", "step"])
