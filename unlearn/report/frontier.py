"""What a key trades between D_r and another figure, and how far retrained models differ in both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from unlearn.report.pivot import means, natural
from unlearn.report.runs import as_text

# A class that is back in less than half a step counts as half a step: a ratio axis has no 0.
LEAST_STEPS = 0.5
# Standard deviations to each side that hold 95% of a normal distribution.
_HELD = 1.96
# Config keys on which a retrained model and its figures depend, besides seed and classes.
_RETRAINING = (
    *("dataset.", "model.", "training."),
    *("evaluation.metrics.relearn.", "evaluation.metrics.probe."),
)


@dataclass(frozen=True)
class Against:
    """What D_r is set against: a figure over, or less, the retrained model's.

    Args:
        name: of what comes out, as tables call it.
        label: of its axis.
        figure: the unlearned model's.
        reference: the retrained model's.
        ratio: whether the one is set over the other: means and spreads are of the logarithm.
    """

    name: str
    label: str
    figure: str
    reference: str
    ratio: bool

    @property
    def aim(self) -> float:
        """What a model that is as good as the retrained one has."""
        return 1.0 if self.ratio else 0.0

    def compared(self, figure: pd.Series, reference: pd.Series) -> pd.Series:
        """The figure against the reference, in the scale in which means are taken."""
        if self.ratio:
            return pd.Series(np.log(figure.clip(lower=LEAST_STEPS) / reference))
        return figure - reference

    def shown(self, compared: pd.Series) -> pd.Series:
        """What was compared, as the axis has it."""
        return pd.Series(np.exp(compared)) if self.ratio else compared


AGAINST = {
    "AIN": Against(
        "AIN",
        "AIN: steps of relearning / the retrained model's",
        "relearn",
        "retrained relearn",
        ratio=True,
    ),
    "probe": Against(
        "probe",
        "probe of the last features − the retrained model's (points)",
        "probe score",
        "retrained probe score",
        ratio=False,
    ),
}


@dataclass(frozen=True)
class Region:
    """Where 95% of retrained models lie against the others of their setting and classes.

    Args:
        low: the least of what D_r is set against.
        high: the most of it.
        margin: D_r is within ± this, percentage points.
        models: how many there are.
    """

    low: float
    high: float
    margin: float
    models: int


def measured(runs: pd.DataFrame, against: Against) -> pd.DataFrame:
    """The complete runs that have D_r, the figure and a retrained model to compare with."""
    needed = ["D_r", "retrained D_r", against.name, against.figure, against.reference]
    return runs[runs["status"] == "complete"].dropna(subset=needed)


def unmeasured(runs: pd.DataFrame, against: Against) -> list[str]:
    """A sentence on the runs that cannot be drawn, if there are any."""
    without = len(runs) - len(measured(runs, against))
    if not without:
        return []
    return [
        f"{without} of {len(runs)} runs failed, are unfinished or have no {against.name}: "
        "not drawn."
    ]


def points(runs: pd.DataFrame, key: str, against: Against) -> pd.DataFrame:
    """Where the runs stand at each value of a key.

    Args:
        runs: of one group, as `runs.load` gives them.
        key: of the config.
        against: what D_r is set against.

    Returns:
        A row a value as text, in natural order: `x`, the mean of what D_r is set against, of a
        ratio the geometric one, with the ends `low` and `high` of its 95% confidence interval,
        which is Student's, of a ratio's logarithms; `difference`, the mean of D_r - retrained D_r
        in percentage points, with `half` of its interval; `bound`, whether a count of relearning
        is a lower bound. Without an interval, where there is one run alone, `low`, `high` and
        `half` are NaN.
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
    """Each retrained model against the mean of the others of its setting and classes.

    Args:
        runs: as `runs.load` gives them; many may share a retrained model.
        against: what D_r is set against.

    Returns:
        A row a model, those without others left out: `x`, its figure against the mean of
        theirs, and `difference`, its D_r less theirs in percentage points.
    """
    known = measured(runs, against)
    keys = [key for key in map(str, known.columns) if key.startswith(_RETRAINING)]
    setting = ["dataset", "model", "forget", *(key for key in keys if key != "training.seed")]
    texts = known[setting].map(as_text)
    seed = known["training.seed"] if "training.seed" in known else known["seed"]
    once = ~texts.assign(trained=seed).duplicated()
    groups = known[once].groupby([texts.loc[once, name] for name in setting])
    others = {
        name: (groups[name].transform("sum") - known.loc[once, name])
        / (groups[name].transform("count") - 1)
        for name in (against.reference, "retrained D_r")
    }
    figure = against.compared(known.loc[once, against.reference], others[against.reference])
    found = pd.DataFrame(
        {
            "x": against.shown(figure),
            "difference": known.loc[once, "retrained D_r"] - others["retrained D_r"],
        }
    )
    return found[groups["retrained D_r"].transform("count") > 1]


def region(models: pd.DataFrame, against: Against) -> Region | None:
    """The target, from `retrained`'s models; None if there are none.

    The root mean square of what a model is off by is about no difference, which is known, rather
    than about the models' own mean: unbiased for each setting with as few as two models.
    """
    if models.empty:
        return None
    across = np.log(models["x"]) if against.ratio else models["x"]
    held, margin = (
        _HELD * float(np.sqrt((off**2).mean())) for off in (across, models["difference"])
    )
    low, high = against.shown(pd.Series([-held, held]))
    return Region(float(low), float(high), margin, len(models))
