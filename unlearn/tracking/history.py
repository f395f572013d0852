"""The history of a run: the scalars and measured figures of every step, in one Parquet file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn.config.schema import RunConfig
from unlearn.tracking.base import Step

if TYPE_CHECKING:
    import pandas as pd


class History:
    """Keeps every step in memory and writes all steps to one Parquet file at the end."""

    def __init__(self) -> None:
        self._steps: list[Step] = []

    def start(self, config: RunConfig, directory: Path, config_hash: str) -> None:
        """Do nothing: there is nothing to prepare."""

    def step(self, step: Step) -> None:
        """Keep the step."""
        self._steps.append(step)

    def finish(self, record: Mapping[str, Any], directory: Path) -> None:
        """Write history.parquet: a row per step, a column per scalar and per measured figure."""
        self.frame().to_parquet(directory / "history.parquet", index=False)

    def stages(self) -> set[str]:
        """Return the names of the stages that have begun."""
        return {step.stage for step in self._steps}

    def plain(self) -> list[dict[str, Any]]:
        """Return the steps as plain values, from which each step can be restored."""
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
        """Return the steps as a pandas data frame."""
        import pandas as pd

        rows = [{"stage": s.stage, "step": s.step, **s.read()} for s in self._steps]
        return pd.DataFrame(rows, columns=None if rows else ["stage", "step"])
