"""Statistics of retrained networks: prediction and confidence intervals by Student's t."""

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

_CONFIDENCE = 0.95
_MIN_VALUES = 2  # for a standard deviation
_ROUNDING = 1e-9  # relative error of a sum whose terms were added in another order


def predict_interval(values: Sequence[float], resolution: float = 0.0) -> tuple[float, float]:
    """Compute the 95% prediction interval of one more value from the same normal distribution.

    It is mean ± t * s * sqrt(1 + 1 / n), where t is the 97.5% quantile of Student's t with n - 1
    degrees of freedom and s the standard deviation of the n values. A number that moves in steps
    may be equal in all n; s is therefore at least half a step. With five values or fewer, the
    interval then includes the next step.

    Args:
        values: N values, two or more.
        resolution: Smallest step of a value, 0 for a continuous one.

    Returns:
        The lower and the upper end.
    """
    count = len(values)
    deviation = max(float(np.std(values, ddof=1)), resolution / 2)
    half = student_quantile(count) * deviation * math.sqrt(1 + 1 / count)
    mean = float(np.mean(values))
    return mean - half, mean + half


def lies_inside(value: float, low: float, high: float) -> bool:
    """Return whether a value lies in a closed interval, up to rounding errors."""
    slack = _ROUNDING * max(1.0, abs(low), abs(high))
    return low - slack <= value <= high + slack


def check_left_out(values: Sequence[float], resolution: float = 0.0) -> list[bool] | None:
    """Return whether each value lies inside the prediction interval of the others.

    Args:
        values: The values.
        resolution: Smallest step of a value, 0 for a continuous one.

    Returns:
        A bool for each value, None for fewer than three values.
    """
    if len(values) <= _MIN_VALUES:
        return None
    found = []
    for index, value in enumerate(values):
        others = [*values[:index], *values[index + 1 :]]
        found.append(lies_inside(value, *predict_interval(others, resolution)))
    return found


@cache
def student_quantile(count: int) -> float:
    """Return the 97.5% quantile of Student's t for some values.

    Args:
        count: Number of values, 2 or more; the degrees of freedom are one less.
    """
    from scipy.special import stdtrit  # takes half a second, and most runs need it last

    return float(stdtrit(count - 1, (1 + _CONFIDENCE) / 2))


def half_width(values: Sequence[float] | NDArray[np.float64]) -> float:
    """Return half the width of the 95% confidence interval of the mean, by Student's t.

    Args:
        values: Two or more values, none of them NaN.
    """
    spread = float(np.std(np.asarray(values, dtype=float), ddof=1))
    return student_quantile(len(values)) * spread / math.sqrt(len(values))


def compute_equivalence(
    values: Sequence[float] | NDArray[np.float64], margin: float
) -> float | None:
    """Test by two one-sided t tests (TOST) that the mean of a distribution is near 0.

    "A comparison of the two one-sided tests procedure and the power approach for assessing the
    equivalence of average bioavailability", Schuirmann, 1987.

    Args:
        values: Values drawn from it, none of them NaN.
        margin: The mean is near 0 if it lies between -margin and margin.

    Returns:
        The larger p value of the two tests; 0 or 1 if all values are equal; None for fewer than
        two values.
    """
    from scipy.stats import ttest_1samp

    if len(values) < _MIN_VALUES:
        return None
    if np.ptp(values) == 0:
        return float(abs(values[0]) >= margin)
    tests = [(-margin, "greater"), (margin, "less")]
    return max(float(ttest_1samp(values, m, alternative=side).pvalue) for m, side in tests)
