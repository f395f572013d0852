"""When forgetting fails: the first step at which D_f rises, and how much it rises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from unlearn.config.schema import CLOSED
from unlearn.evaluation.base import Figures, MetricContext, Models
from unlearn.records.history import read_looks

if TYPE_CHECKING:
    import pandas as pd


@dataclass(config=CLOSED)
class Onset:
    """Figures of the curve D_f(t) that the runner observed, over the method's last stage.

    A warm-started student begins with the class, so its onset is a rise after D_f was first down
    to `threshold`.

    Args:
        threshold: percent.
    """

    threshold: Annotated[float, Field(ge=0, le=100)]
    needs_data: bool = True

    def __call__(self, models: Models, setting: MetricContext) -> Figures:
        """Read the history; see `Metric`.

        Returns:
            `step`: first step with D_f above `threshold` after it was down to it, None if it
            never rose; `area`: mean of D_f over the curve, percent; `largest`: its maximum over
            the last three quarters of the steps; `final`: its last value.
        """
        curve = read_looks(setting.history, "forget")["forget"]
        if curve.empty:
            return {"step": None, "area": None, "largest": None, "final": None}
        later = curve[curve.index > curve.index[-1] / 4]
        down = curve[curve <= self.threshold]
        risen = (
            curve[(curve > self.threshold) & (curve.index > down.index[0])] if len(down) else down
        )
        return {
            "step": int(risen.index[0]) if len(down) and len(risen) else None,
            "area": _mean_over_steps(curve),
            "largest": float(later.max()),
            "final": float(curve.iloc[-1]),
        }


def _mean_over_steps(curve: pd.Series[float]) -> float:
    """Trapezoidal area over the steps, divided by their span."""
    if len(curve) == 1:
        return float(curve.iloc[0])
    steps = curve.index.to_series()
    widths = steps.diff().iloc[1:].to_numpy()
    heights = ((curve + curve.shift()) / 2).iloc[1:].to_numpy()
    return float((widths * heights).sum() / widths.sum())
