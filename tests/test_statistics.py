"""The interval of one more retrained network: against SciPy, and by drawing such networks."""

import numpy as np
import pytest
from scipy import stats

from unlearn.statistics import check_left_out, compute_equivalence, lies_inside, predict_interval


def test_the_interval_is_that_of_students_t() -> None:
    values = [3.0, 4.5, 2.0, 3.7, 5.1]
    scale = np.std(values, ddof=1) * np.sqrt(1 + 1 / 5)
    expected = stats.t.interval(0.95, 4, loc=np.mean(values), scale=scale)
    assert predict_interval(values) == pytest.approx(expected)


@pytest.mark.parametrize("count", [3, 5])
def test_one_more_draw_is_inside_as_often_as_it_says(count: int) -> None:
    """4,000 trials: the standard error of the share is 0.35%."""
    draws = np.random.default_rng(0).normal(7.0, 2.0, (4000, count + 1))
    found = [lies_inside(last, *predict_interval(list(others))) for *others, last in draws.tolist()]
    assert np.mean(found) == pytest.approx(0.95, abs=0.015)


def test_a_figure_in_steps_may_move_by_one_where_all_are_equal() -> None:
    """36 test rows, none right in five networks: one is within the spread and two are not."""
    low, high = predict_interval([0.0] * 5, 100 / 36)
    assert lies_inside(100 / 36, low, high)
    assert not lies_inside(200 / 36, low, high)
    assert predict_interval([0.7] * 5) == pytest.approx((0.7, 0.7))
    assert lies_inside(0.7 + 1e-12, *predict_interval([0.7] * 5))


def test_an_outlier_lies_outside_the_others_interval() -> None:
    """It widens the others' interval, so that they pass."""
    assert check_left_out([1.0, 1.1, 0.9, 1.05, 9.0]) == [True, True, True, True, False]
    assert check_left_out([1.0, 1.1]) is None


def test_two_one_sided_tests_agree_with_the_90_percent_interval() -> None:
    """And a true difference as large as the margin passes in 5% of the cases."""
    draws = np.random.default_rng(1).normal(1.0, 0.6, (2000, 5))
    found = [compute_equivalence(values, 1.0) for values in draws]
    assert None not in found
    low, high = stats.t.interval(0.9, 4, loc=draws.mean(axis=1), scale=stats.sem(draws, axis=1))
    inside = (low > -1) & (high < 1)
    assert (np.array(found, dtype=float) < 0.05).tolist() == inside.tolist()
    assert inside.mean() == pytest.approx(0.05, abs=0.015)
    assert compute_equivalence([0.3, 0.3], 0.5) == 0
    assert compute_equivalence([-0.5, -0.5], 0.5) == 1
    assert compute_equivalence([0.1], 0.5) is None
