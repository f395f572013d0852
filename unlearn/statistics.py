"""Whether a number is one that another retrained network might have had."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

_CONFIDENCE = 0.95
_FEWEST = 2  # of which a spread can be had
_ROUNDING = 1e-9  # relative: of sums in another order


def prediction_interval(values: Sequence[float], resolution: float = 0.0) -> tuple[float, float]:
    """Where one more value of the same normal distribution lies with a probability of 95%.

    mean ± t * s * sqrt(1 + 1 / n) of Student's t with n - 1 degrees of freedom, s the standard
    deviation of the n values. A figure that moves in steps may be the same in all of them, so
    that s is at least half a step: with five values the interval then takes in the next step.

    Args:
        values: two or more.
        resolution: the smallest step of a value, 0 if it has none.
    """
    count = len(values)
    deviation = max(float(np.std(values, ddof=1)), resolution / 2)
    half = student_quantile(count) * deviation * math.sqrt(1 + 1 / count)
    mean = float(np.mean(values))
    return mean - half, mean + half


def lies_inside(value: float, low: float, high: float) -> bool:
    """Whether a value is in an interval, its ends and what rounding makes of them included."""
    slack = _ROUNDING * max(1.0, abs(low), abs(high))
    return low - slack <= value <= high + slack


def left_out(values: Sequence[float], resolution: float = 0.0) -> list[bool] | None:
    """Whether each value lies inside the interval of the others, None for fewer than three."""
    if len(values) <= _FEWEST:
        return None
    found = []
    for index, value in enumerate(values):
        others = [*values[:index], *values[index + 1 :]]
        found.append(lies_inside(value, *prediction_interval(others, resolution)))
    return found


@cache
def student_quantile(count: int) -> float:
    """The 97.5% quantile of Student's t for the mean of some values.

    Args:
        count: how many values there are, 2 or more; the degrees of freedom are one less.
    """
    return float(stdtrit(count - 1, (1 + _CONFIDENCE) / 2))


def half_width(values: Sequence[float] | NDArray[np.float64]) -> float:
    """Half of the 95% confidence interval of the mean, by Student's t.

    Args:
        values: two or more, none of them NaN.
    """
    spread = float(np.std(np.asarray(values, dtype=float), ddof=1))
    return student_quantile(len(values)) * spread / math.sqrt(len(values))
