"""Checkpoints picked after the fact, from histories made up so that the picks differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from torch import nn

from unlearn.evaluation.base import MetricContext, Models
from unlearn.evaluation.selection import Selection, correlate_ranks
from unlearn.protocol import Request

NOTHING = {"step": None, "retain": None, "forget": None}
NO_RANKS = {"retain": None, "forget": None, "score": None}


@pytest.fixture
def select(make_request: Callable[..., Request], tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """The selection over a history with these columns, after two epochs of the teacher's."""

    def call(stage: str | Sequence[str] = "transfer", **columns: Sequence[float]) -> dict[str, Any]:
        names = {name.replace("_", "."): list(values) for name, values in columns.items()}
        rows = pd.DataFrame({"stage": stage, **names}) if names else pd.DataFrame()
        before = pd.DataFrame({"stage": "teacher", "step": [1, 2], "loss": 1.0})
        unseen = rows.assign(step=rows["step"] - 1)[["stage", "step"]] if names else rows
        history = pd.concat([before, unseen, rows])
        context = MetricContext(make_request(), None, history, None, (), tmp_path)
        nobody = Models(nn.Identity(), None, nn.Identity())
        return dict(Selection("proxy.retain", "proxy.forget", "proxy.score")(nobody, context))

    return call


def test_the_picks_are_those_of_the_proxy_and_of_the_test_set(select: Any) -> None:
    found = select(
        step=[10, 20, 30, 40, 50],
        retain=[80.0, 94.0, 95.0, 97.0, 98.0],
        forget=[0.0, 0.0, 0.0, 12.5, 60.0],
        proxy_retain=[0.5, 0.7, 0.6, 0.8, 0.9],
        proxy_forget=[0.01, 0.00, 0.02, 0.03, 0.5],
        proxy_score=[0.1, 0.2, 0.3, 0.9, 0.4],
    )
    assert found["last"] == {"retain": 98.0, "forget": 60.0}
    assert found["proxy"] == {"step": 40, "retain": 97.0, "forget": 12.5}
    assert found["oracle"] == {"step": 30, "retain": 95.0, "forget": 0.0}
    assert found["spearman"]["retain"] == pytest.approx(0.9)
    real = spearmanr([0.0, 0.0, 0.0, 12.5, 60.0], [0.01, 0.00, 0.02, 0.03, 0.5]).statistic
    assert found["spearman"]["forget"] == pytest.approx(real)
    differences = [80.0, 94.0, 95.0, 84.5, 38.0]
    real = spearmanr(differences, [0.1, 0.2, 0.3, 0.9, 0.4]).statistic
    assert found["spearman"]["score"] == pytest.approx(real)


def test_a_student_that_the_test_set_selected_is_not_the_last_iterate(select: Any) -> None:
    """As published: the run ends with the student of step 20, the loop ended with step 40's."""
    found = select(
        stage=["transfer"] * 4 + ["select"],
        step=[10, 20, 30, 40, 1],
        retain=[50.0, 80.0, 85.0, 90.0, 80.0],
        forget=[0.0, 0.0, 20.0, 60.0, 0.0],
    )
    assert found["last"] == {"retain": 90.0, "forget": 60.0}
    assert found["oracle"] == {"step": 20, "retain": 80.0, "forget": 0.0}


def test_without_a_look_at_no_forget_answers_the_oracle_takes_the_fewest(select: Any) -> None:
    found = select(
        step=[1, 2, 3, 4],
        retain=[99.0, 90.0, 92.0, 92.0],
        forget=[50.0, 5.0, 5.0, 5.0],
        proxy_score=[1.0, 2.0, 2.0, 0.0],
    )
    assert found["oracle"]["step"] == 3, "the first of the best, as published"
    assert found["proxy"]["step"] == 3, "the latest of the best"
    assert found["spearman"]["retain"] is None, "that proxy was not taken"


def test_only_the_last_stage_is_picked_from(select: Any) -> None:
    found = select(
        stage=["impair", "repair", "repair"],
        step=[1, 1, 2],
        retain=[99.0, 90.0, 91.0],
        forget=[0.0, 0.0, 3.0],
        proxy_score=[9.0, 1.0, 2.0],
    )
    assert found["oracle"] == {"step": 1, "retain": 90.0, "forget": 0.0}
    assert found["proxy"] == {"step": 2, "retain": 91.0, "forget": 3.0}
    assert found["spearman"] == NO_RANKS, "two looks are no ranking"


def test_without_data_the_proxy_picks_a_step_of_unknown_figures(select: Any) -> None:
    found = select(step=[1, 2, 3], proxy_score=[1.0, 3.0, 2.0], proxy_retain=[1.0, 2.0, 3.0])
    assert found["last"] == {"retain": None, "forget": None}
    assert found["proxy"] == {"step": 2, "retain": None, "forget": None}
    assert found["oracle"] == NOTHING
    assert found["spearman"] == NO_RANKS


def test_without_a_proxy_or_without_a_look_there_is_no_pick(select: Any) -> None:
    real = select(step=[1, 2, 3], retain=[1.0, 3.0, 2.0], forget=[0.0, 0.0, 0.0])
    assert real["oracle"] == {"step": 2, "retain": 3.0, "forget": 0.0}
    assert real["proxy"] == NOTHING
    blind = select()
    assert blind["last"] == {"retain": None, "forget": None}
    assert blind["proxy"] == blind["oracle"] == NOTHING


def test_ranks_are_scipys_with_ties_and_gaps() -> None:
    random = np.random.default_rng(4)
    for _ in range(20):
        one, other = (pd.Series(random.integers(0, 6, 12).astype(float)) for _ in range(2))
        assert correlate_ranks(one, other) == pytest.approx(spearmanr(one, other).statistic)
    gaps = one.where(one > 1)
    known = gaps.notna()
    assert correlate_ranks(gaps, other) == pytest.approx(
        spearmanr(one[known], other[known]).statistic
    )
    assert correlate_ranks(one * 0, other) is None
    assert correlate_ranks(one[:2], other[:2]) is None
