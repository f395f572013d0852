"""Students selected afterwards, from histories made up so that the selections differ."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from torch import nn

from unlearn.evaluation.base import MetricContext, Models
from unlearn.evaluation.selection import Selection, correlate_ranks

Select = Callable[..., dict[str, Any]]
NOTHING = {"step": None, "retain": None, "forget": None}
NO_RANKS = {"retain": None, "forget": None, "score": None}


@pytest.fixture
def select(context: MetricContext) -> Select:
    """The selection over a history with these columns, after two epochs of the teacher's."""

    def call(stage: str | Sequence[str] = "transfer", **columns: Sequence[float]) -> dict[str, Any]:
        names = {name.replace("_", "."): list(values) for name, values in columns.items()}
        rows = pd.DataFrame({"stage": stage, **names}) if names else pd.DataFrame()
        before = pd.DataFrame({"stage": "teacher", "step": [1, 2], "loss": 1.0})
        unseen = rows.assign(step=rows["step"] - 1)[["stage", "step"]] if names else rows
        changed = dataclasses.replace(context, history=pd.concat([before, unseen, rows]))
        nobody = Models(nn.Identity(), None, nn.Identity())
        return dict(Selection("proxy.retain", "proxy.forget", "proxy.score")(nobody, changed))

    return call


def test_the_selections_are_those_of_the_proxy_and_of_the_test_set(select: Select) -> None:
    retain, forget = [80.0, 94.0, 95.0, 97.0, 98.0], [0.0, 0.0, 0.0, 12.5, 60.0]
    proxies = {
        "proxy_retain": [0.5, 0.7, 0.6, 0.8, 0.9],
        "proxy_forget": [0.01, 0.00, 0.02, 0.03, 0.5],
        "proxy_score": [0.1, 0.2, 0.3, 0.9, 0.4],
    }
    found = select(step=[10, 20, 30, 40, 50], retain=retain, forget=forget, **proxies)
    assert found["last"] == {"retain": 98.0, "forget": 60.0}
    assert found["proxy"] == {"step": 40, "retain": 97.0, "forget": 12.5}
    assert found["oracle"] == {"step": 30, "retain": 95.0, "forget": 0.0}
    real = {"retain": retain, "forget": forget, "score": np.subtract(retain, forget)}
    for name, values in real.items():
        expected = spearmanr(values, proxies[f"proxy_{name}"]).statistic
        assert found["spearman"][name] == pytest.approx(expected)


def test_equal_students_are_told_apart_by_their_steps(select: Select) -> None:
    found = select(
        step=[1, 2, 3, 4],
        retain=[99.0, 90.0, 92.0, 92.0],
        forget=[50.0, 5.0, 5.0, 5.0],
        proxy_score=[1.0, 2.0, 2.0, 0.0],
    )
    assert found["oracle"]["step"] == 3, "the first of the best, as published"
    assert found["proxy"]["step"] == 3, "the latest of the best"
    assert found["spearman"]["retain"] is None, "that proxy was not measured"


def test_only_the_last_stage_is_selected_from(select: Select) -> None:
    found = select(
        stage=["impair", "repair", "repair", "select"],
        step=[1, 1, 2, 1],
        retain=[99.0, 90.0, 91.0, 90.0],
        forget=[0.0, 0.0, 3.0, 0.0],
        proxy_score=[9.0, 1.0, 2.0, 1.0],
    )
    assert found["last"] == {"retain": 91.0, "forget": 3.0}, "not the student that was selected"
    assert found["oracle"] == {"step": 1, "retain": 90.0, "forget": 0.0}
    assert found["proxy"] == {"step": 2, "retain": 91.0, "forget": 3.0}
    assert found["spearman"] == NO_RANKS, "two students cannot be ranked"


def test_missing_figures_select_nothing(select: Select) -> None:
    without_data = select(step=[1, 2, 3], proxy_score=[1.0, 3.0, 2.0], proxy_retain=[1.0, 2.0, 3.0])
    assert without_data["last"] == {"retain": None, "forget": None}
    assert without_data["proxy"] == {"step": 2, "retain": None, "forget": None}
    assert without_data["oracle"] == NOTHING
    assert without_data["spearman"] == NO_RANKS
    without_proxy = select(step=[1, 2, 3], retain=[1.0, 3.0, 2.0], forget=[0.0, 0.0, 0.0])
    assert without_proxy["oracle"] == {"step": 2, "retain": 3.0, "forget": 0.0}
    assert without_proxy["proxy"] == NOTHING
    nothing = select()
    assert nothing["last"] == {"retain": None, "forget": None}
    assert nothing["proxy"] == nothing["oracle"] == NOTHING


def test_rank_correlations_are_scipys_with_ties_and_gaps() -> None:
    random = np.random.default_rng(4)
    for _ in range(20):
        one, other = (pd.Series(random.integers(0, 6, 12).astype(float)) for _ in range(2))
        assert correlate_ranks(one, other) == pytest.approx(spearmanr(one, other).statistic)
    gaps, known = one.where(one > 1), one > 1
    expected = spearmanr(one[known], other[known]).statistic
    assert correlate_ranks(gaps, other) == pytest.approx(expected)
    assert correlate_ranks(one * 0, other) is None
    assert correlate_ranks(one[:2], other[:2]) is None
