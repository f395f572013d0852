"""Which checkpoint a figure without data would have picked, and which the test set."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from unlearn.evaluation.base import Figures, MetricContext, Models
from unlearn.records.history import read_looks

if TYPE_CHECKING:
    import pandas as pd

_FEWEST = 3  # looks that can be ranked: two are always in order or in reverse


@dataclass(frozen=True)
class Selection:
    """The last iterate beside two picks among the looks at the method's last stage.

    The picks are made after the fact, from the history: nothing in the run is steered by them.

    Args:
        retain: column of the history that stands in for D_r.
        forget: the same for D_f.
        score: the same for D_r - D_f; the proxy's pick is where it is highest.
    """

    retain: str
    forget: str
    score: str
    needs_data: bool = False

    def __call__(self, models: Models, setting: MetricContext) -> Figures:
        """Read the history; see `Metric`.

        Returns:
            `last`, `proxy` and `oracle`: D_r and D_f on test rows, percent, of the last look, of
            the latest with the highest score, and of the one with the lowest D_f, the highest
            D_r among those, as published code picks it; `spearman`: rank correlations of the
            proxies with D_r, D_f and D_r - D_f over the looks, None for fewer than three looks
            and where a figure never changes.
        """
        proxies = dict.fromkeys((self.retain, self.forget, self.score))
        seen = read_looks(setting.history, "retain", "forget", *proxies)
        scores = seen[self.score].dropna()
        real = seen.dropna(subset=["retain", "forget"])
        best = real.sort_values(["forget", "retain", "step"], ascending=[True, False, True])
        last = _at(seen, seen.index.tolist()[-1:])
        return {
            "last": {"retain": last["retain"], "forget": last["forget"]},
            "proxy": _at(seen, scores.index[scores == scores.max()].tolist()[-1:]),
            "oracle": _at(seen, best.index.tolist()[:1]),
            "spearman": {
                "retain": spearman(seen[self.retain], seen["retain"]),
                "forget": spearman(seen[self.forget], seen["forget"]),
                "score": spearman(seen[self.score], seen["retain"] - seen["forget"]),
            },
        }


def spearman(one: pd.Series[float], other: pd.Series[float]) -> float | None:
    """Spearman's rank correlation over the rows where both are known, ties at their mean rank."""
    both = (one + other).dropna().index
    if len(both) < _FEWEST or one[both].nunique() < 2 or other[both].nunique() < 2:
        return None
    return float(one[both].rank().corr(other[both].rank()))


def _at(seen: pd.DataFrame, steps: list[int]) -> dict[str, float | int | None]:
    """The real figures of the look at the one step, if there is one."""
    if not steps:
        return {"step": None, "retain": None, "forget": None}
    found = {name: float(seen[name].loc[steps[0]]) for name in ("retain", "forget")}
    known = {name: None if math.isnan(value) else value for name, value in found.items()}
    return {"step": steps[0], **known}
