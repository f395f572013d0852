"""The trade-off of D_r and another figure along a key, and the spread of retrained models."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from unlearn.report.pivot import means, natural
from unlearn.report.runs import as_text

# Fewer steps of relearning count as this many: a logarithmic axis has no 0.
LEAST_STEPS = 0.5
# 95% of a normal distribution lie within this many standard deviations.
_HELD = 1.96
# Config keys that determine a retrained model and its figures, besides seed and classes.
_RETRAINING = (
    *("dataset.", "model.", "training."),
    *("evaluation.metrics.relearn.", "evaluation.metrics.probe."),
)


@dataclass(frozen=True)
class Against:
    """The figure on the horizontal axis: the unlearned model's compared with the retrained one's.

    Args:
        name: short name of the comparison, as in tables.
        label: of the axis.
        figure: name of the unlearned model's figure.
        reference: name of the retrained model's figure.
        ratio: True divides the two and averages logarithms, False subtracts.
    """

    name: str
    label: str
    figure: str
    reference: str
    ratio: bool

    @property
    def aim(self) -> float:
        """The value of a model that equals the retrained one."""
        return 1.0 if self.ratio else 0.0

    def compared(self, figure: pd.Series, reference: pd.Series) -> pd.Series:
        """The comparison, in the scale in which means are taken."""
        if self.ratio:
            return pd.Series(np.log(figure.clip(lower=LEAST_STEPS) / reference))
        return figure - reference

    def shown(self, compared: pd.Series) -> pd.Series:
        """Compared values in the scale of the axis."""
        return pd.Series(np.exp(compared)) if self.ratio else compared


_AIN = "AIN: steps of relearning / the retrained model's"
_PROBE = "probe of the last features − the retrained model's (points)"
AGAINST = {
    "AIN": Against("AIN", _AIN, "relearn", "retrained relearn", ratio=True),
    "probe": Against("probe", _PROBE, "probe score", "retrained probe score", ratio=False),
}


@dataclass(frozen=True)
class Region:
    """The region that holds 95% of retrained models, compared with others of the same setting.

    Args:
        low: lower limit on the horizontal axis.
        high: upper limit on the horizontal axis.
        margin: D_r differs by at most this, percentage points.
    """

    low: float
    high: float
    margin: float


def measured(runs: pd.DataFrame, against: Against) -> pd.DataFrame:
    """The complete runs that have D_r and the figure, and both of the retrained model."""
    needed = ["D_r", "retrained D_r", against.name, against.figure, against.reference]
    return runs[runs["status"] == "complete"].dropna(subset=needed)


def unmeasured(runs: pd.DataFrame, against: Against) -> list[str]:
    """A sentence on the runs that cannot be drawn, or none if there are no such runs."""
    without = len(runs) - len(measured(runs, against))
    why = f"failed, are unfinished or have no {against.name}: not drawn."
    return [f"{without} of {len(runs)} runs {why}"] if without else []


def points(runs: pd.DataFrame, key: str, against: Against) -> pd.DataFrame:
    """Means over the runs at each value of a key.

    Args:
        runs: of one group, as `runs.load` gives them.
        key: config key.
        against: the figure on the horizontal axis.

    Returns:
        A row for each value, as text in natural order. `x` is the mean on the horizontal axis
        (of a ratio the geometric mean); `low` and `high` are the ends of its 95% confidence
        interval (Student's t, of a ratio's logarithms). `difference` is the mean of
        D_r - retrained D_r in percentage points, `half` is half of its interval. `bound` says
        whether a count of relearning is a lower bound. `low`, `high` and `half` are NaN where
        there is one run.
    """
    known = measured(runs, against)
    at = known[key].map(as_text)
    values = against.compared(known[against.figure], known[against.reference])
    across = means(pd.DataFrame({"value": values, "at": at}), "at")
    apart = means(pd.DataFrame({"value": known["D_r"] - known["retrained D_r"], "at": at}), "at")
    found = pd.DataFrame(
        {
            "x": against.shown(across["mean"]),
            "low": against.shown(across["mean"] - across["half"]),
            "high": against.shown(across["mean"] + across["half"]),
            "difference": apart["mean"],
            "half": apart["half"],
            "bound": known["censored"].groupby(at).any() & against.ratio,
        }
    )
    return found.loc[sorted(found.index, key=lambda text: natural([text]))]


def retrained(runs: pd.DataFrame, against: Against) -> pd.DataFrame:
    """Compare each retrained model with the mean of the others of its setting and classes.

    Args:
        runs: as `runs.load` gives them; several may share a retrained model.
        against: the figure on the horizontal axis.

    Returns:
        A row for each retrained model that has others: `x`, its figure compared with their mean,
        and `difference`, its D_r minus their mean, percentage points.
    """
    known = measured(runs, against)
    keys = [key for key in map(str, known.columns) if key.startswith(_RETRAINING)]
    setting = ["dataset", "model", "forget", *(key for key in keys if key != "training.seed")]
    texts = known[setting].map(as_text)
    seed = known["training.seed"] if "training.seed" in known else known["seed"]
    once = ~texts.assign(trained=seed).duplicated()
    models = known.loc[once, [against.reference, "retrained D_r"]]
    groups = models.groupby([texts.loc[once, name] for name in setting])
    count = groups["retrained D_r"].transform("count")
    others = (groups.transform("sum") - models).div(count - 1, axis=0)
    figure = against.compared(models[against.reference], others[against.reference])
    difference = models["retrained D_r"] - others["retrained D_r"]
    return pd.DataFrame({"x": against.shown(figure), "difference": difference})[count > 1]


def region(models: pd.DataFrame, against: Against) -> Region | None:
    """The target region, None if there are no models.

    It reaches 1.96 times the root mean square of the models' differences from the others. Their
    expected difference is zero, so this is unbiased for as few as two models a setting.

    Args:
        models: as `retrained` gives them.
        against: the figure on the horizontal axis.
    """
    if models.empty:
        return None
    across = np.log(models["x"]) if against.ratio else models["x"]
    held, margin = (
        _HELD * float(np.sqrt((off**2).mean())) for off in (across, models["difference"])
    )
    low, high = against.shown(pd.Series([-held, held]))
    return Region(float(low), float(high), margin)
