"""What a key trades between D_r and AIN, and how far retrained models differ in both."""

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
# Config keys on which a retrained model and its relearning depend, besides seed and classes.
_RETRAINING = ("dataset.", "model.", "training.", "evaluation.metrics.relearn.")


@dataclass(frozen=True)
class Region:
    """Where 95% of retrained models lie against the others of their setting and classes.

    Args:
        factor: AIN is within 1 / factor and factor, at least 1.
        margin: D_r is within ± this, percentage points.
        models: how many there are.
    """

    factor: float
    margin: float
    models: int


def measured(runs: pd.DataFrame) -> pd.DataFrame:
    """The complete runs that have D_r, AIN and a retrained model to compare with."""
    return runs[runs["status"] == "complete"].dropna(subset=["D_r", "AIN", "retrained D_r"])


def unmeasured(runs: pd.DataFrame) -> list[str]:
    """A sentence on the runs that cannot be drawn, if there are any."""
    without = len(runs) - len(measured(runs))
    if not without:
        return []
    return [f"{without} of {len(runs)} runs failed, are unfinished or have no AIN: not drawn."]


def points(runs: pd.DataFrame, key: str) -> pd.DataFrame:
    """Where the runs stand at each value of a key.

    Args:
        runs: of one group, as `runs.load` gives them.
        key: of the config.

    Returns:
        A row a value as text, in natural order: `ain`, the geometric mean, with the ends `low`
        and `high` of its 95% confidence interval, which is Student's of the logarithms;
        `difference`, the mean of D_r - retrained D_r in percentage points, with `half` of its
        interval; `bound`, whether an AIN is a lower bound. Without an interval, where there is
        one run alone, `low`, `high` and `half` are NaN.
    """
    known = measured(runs)
    at = known[key].map(as_text)
    steps = known["relearn"].clip(lower=LEAST_STEPS) / known["retrained relearn"]
    logs = means(pd.DataFrame({"value": np.log(steps), "at": at}), "at")
    apart = means(pd.DataFrame({"value": known["D_r"] - known["retrained D_r"], "at": at}), "at")
    found = pd.DataFrame(
        {
            "ain": np.exp(logs["mean"]),
            "low": np.exp(logs["mean"] - logs["half"]),
            "high": np.exp(logs["mean"] + logs["half"]),
            "difference": apart["mean"],
            "half": apart["half"],
            "bound": known["censored"].groupby(at).any(),
        }
    )
    return found.loc[sorted(found.index, key=lambda text: natural([text]))]


def retrained(runs: pd.DataFrame) -> pd.DataFrame:
    """Each retrained model against the mean of the others of its setting and classes.

    Args:
        runs: as `runs.load` gives them; many may share a retrained model.

    Returns:
        A row a model, those without others left out: `ain`, its steps of relearning over the
        others', and `difference`, its D_r less theirs in percentage points.
    """
    known = measured(runs)
    keys = [key for key in map(str, known.columns) if key.startswith(_RETRAINING)]
    setting = ["dataset", "model", "forget", *(key for key in keys if key != "training.seed")]
    texts = known[setting].map(as_text)
    seed = known["training.seed"] if "training.seed" in known else known["seed"]
    once = ~texts.assign(trained=seed).duplicated()
    groups = known[once].groupby([texts.loc[once, name] for name in setting])
    steps, accuracy = ("retrained relearn", "retrained D_r")
    others = {
        name: (groups[name].transform("sum") - known.loc[once, name])
        / (groups[name].transform("count") - 1)
        for name in (steps, accuracy)
    }
    found = pd.DataFrame(
        {
            "ain": known.loc[once, steps] / others[steps],
            "difference": known.loc[once, accuracy] - others[accuracy],
        }
    )
    return found[groups[steps].transform("count") > 1]


def region(models: pd.DataFrame) -> Region | None:
    """The target, from `retrained`'s models; None if there are none.

    The root mean square of what a model is off by is about no difference, which is known, rather
    than about the models' own mean: unbiased for each setting with as few as two models.
    """
    if models.empty:
        return None
    spread = {
        "ain": np.log(models["ain"]),
        "difference": models["difference"],
    }
    held = {name: _HELD * float(np.sqrt((off**2).mean())) for name, off in spread.items()}
    return Region(float(np.exp(held["ain"])), held["difference"], len(models))
