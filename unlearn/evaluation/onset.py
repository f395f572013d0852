"""When forgetting fails: the first step at which D_f rises again, and how far it rises."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from unlearn.config.schema import CLOSED
from unlearn.evaluation.base import FigureName, Figures, MetricContext, Models
from unlearn.records.history import read_looks


@dataclass(config=CLOSED)
class Onset:
    """Figures of D_f over the steps of the method's last stage, as measured while it ran.

    A student that starts as the teacher has a high D_f at first. A rise therefore counts only
    after D_f has been at or below `threshold`.

    Args:
        threshold: D_f in percent.
    """

    threshold: Annotated[float, Field(ge=0, le=100)]
    needs_data: ClassVar[bool] = True
    figure_names: ClassVar[Mapping[str, FigureName]] = {
        "step": FigureName("onset", "steps"),
        "area": FigureName("mean D_f", "%"),
        "largest": FigureName("max D_f", "%"),
    }

    def __call__(self, models: Models, context: MetricContext) -> Figures:
        """Read the history.

        Returns:
            `step`: first step with D_f above `threshold` after a step at or below it, None if
            there is none; `area`: mean of D_f over the steps (trapezoidal rule), percent;
            `largest`: largest D_f in the last three quarters of the steps, percent; `final`: last
            D_f, percent. All are None if D_f was never measured.
        """
        from scipy.integrate import trapezoid

        curve = read_looks(context.history, "forget")["forget"]
        if curve.empty:
            return {"step": None, "area": None, "largest": None, "final": None}
        steps, values = curve.index.to_numpy(), curve.to_numpy()
        span = steps[-1] - steps[0]
        low = curve.index[curve <= self.threshold]
        rises = curve.index[(curve > self.threshold) & (curve.index > low.min())]
        return {
            "step": int(rises[0]) if len(rises) else None,
            "area": float(trapezoid(values, steps) / span if span else values[0]),
            "largest": float(values[steps > steps[-1] / 4].max()),
            "final": float(values[-1]),
        }
