"""Which student a figure without data would have selected, and which the test set."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic.dataclasses import dataclass

from unlearn.config.schema import CLOSED
from unlearn.evaluation.base import FigureName, Figures, MetricContext, Models
from unlearn.records.history import read_looks

if TYPE_CHECKING:
    import pandas as pd

_MIN_RANKED = 3  # the rank correlation of two values is always 1 or -1


@dataclass(config=CLOSED)
class Selection:
    """The last student of a run beside two that could have been selected on the way.

    Selections are made afterwards, from the history of the method's last stage; they do not
    change the run.

    Args:
        retain: Column of the history that stands in for D_r.
        forget: Column of the history that stands in for D_f.
        score: Column of the history that stands in for D_r - D_f; its highest value selects.
    """

    retain: str
    forget: str
    score: str
    needs_data: ClassVar[bool] = False
    figure_names: ClassVar[Mapping[str, FigureName]] = {
        "proxy.retain": FigureName("D_r proxy", "%"),
        "proxy.forget": FigureName("D_f proxy", "%"),
        "oracle.retain": FigureName("D_r oracle", "%"),
        "oracle.forget": FigureName("D_f oracle", "%"),
        "spearman.retain": FigureName("rho D_r"),
        "spearman.forget": FigureName("rho D_f"),
        "spearman.score": FigureName("rho"),
    }

    def __call__(self, models: Models, context: MetricContext) -> Figures:
        """Read the history.

        Returns:
            `last`, `proxy` and `oracle`: D_r and D_f on test rows, percent, and the step. `last`
            is the last measured student; `proxy` the latest with the highest `score`; `oracle`
            the one with the lowest D_f, of those the highest D_r, as published code selects it.
            `spearman`: rank correlations (-1 to 1) of the three stand-ins with D_r, D_f and
            D_r - D_f over the measured students; None for fewer than three students and where a
            figure never changes.
        """
        proxies = dict.fromkeys((self.retain, self.forget, self.score))
        seen = read_looks(context.history, "retain", "forget", *proxies)
        scores = seen[self.score].dropna()
        real = seen.dropna(subset=["retain", "forget"])
        best = real.sort_values(["forget", "retain", "step"], ascending=[True, False, True])
        last = _get_student(seen, seen.index.tolist()[-1:])
        return {
            "last": {"retain": last["retain"], "forget": last["forget"]},
            "proxy": _get_student(seen, scores.index[scores == scores.max()].tolist()[-1:]),
            "oracle": _get_student(seen, best.index.tolist()[:1]),
            "spearman": {
                "retain": correlate_ranks(seen[self.retain], seen["retain"]),
                "forget": correlate_ranks(seen[self.forget], seen["forget"]),
                "score": correlate_ranks(seen[self.score], seen["retain"] - seen["forget"]),
            },
        }


def correlate_ranks(one: pd.Series[float], other: pd.Series[float]) -> float | None:
    """Compute Spearman's rank correlation over the rows where both values are known.

    Args:
        one: N values, NaN where unknown.
        other: N values, NaN where unknown.

    Returns:
        -1 to 1; None for fewer than three such rows and where a value never changes. Ties have
        their mean rank.
    """
    both = (one + other).dropna().index
    if len(both) < _MIN_RANKED or one[both].nunique() < 2 or other[both].nunique() < 2:
        return None
    return float(one[both].rank().corr(other[both].rank()))


def _get_student(seen: pd.DataFrame, steps: list[int]) -> dict[str, float | int | None]:
    """The step and the real figures of the student at the one step, if there is one."""
    if not steps:
        return {"step": None, "retain": None, "forget": None}
    found = {name: float(seen[name].loc[steps[0]]) for name in ("retain", "forget")}
    known = {name: None if math.isnan(value) else value for name, value in found.items()}
    return {"step": steps[0], **known}
