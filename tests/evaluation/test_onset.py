"""The onset of a rise in curves of D_f."""

import dataclasses

import pandas as pd
import pytest
from torch import nn

from unlearn.evaluation.base import MetricContext, Models
from unlearn.evaluation.onset import Onset


@pytest.mark.parametrize(
    ("curve", "expected"),
    [
        ({10: 0.0, 20: 0.0, 30: 6.0, 40: 20.0}, (30, (0 + 3 + 13) / 3, 20.0, 20.0)),
        ({10: 0.0, 20: 0.5, 40: 1.0}, (None, (0.25 * 10 + 0.75 * 20) / 30, 1.0, 1.0)),
        ({10: 90.0, 20: 0.0, 30: 0.0, 40: 5.0}, (40, (45 + 0 + 2.5) / 3, 5.0, 5.0)),
        ({10: 90.0, 20: 50.0}, (None, 70.0, 90.0, 50.0)),
        ({10: 3.0}, (None, 3.0, 3.0, 3.0)),
        ({}, (None, None, None, None)),
    ],
    ids=["rise", "no rise", "warm start", "never low", "one step", "not measured"],
)
def test_onset(
    context: MetricContext,
    curve: dict[int, float],
    expected: tuple[int | None, float | None, float | None, float | None],
) -> None:
    before = pd.DataFrame({"stage": ["teacher"], "step": [1], "forget": [float("nan")]})
    rows = {"stage": "transfer", "step": list(curve), "forget": list(curve.values())}
    history = pd.concat([before, pd.DataFrame(rows)]) if curve else before
    changed = dataclasses.replace(context, history=history)
    found = Onset(threshold=1.0)(Models(nn.Identity(), None, nn.Identity()), changed)
    assert tuple(found.values()) == pytest.approx(expected)
    assert list(found) == ["step", "area", "largest", "final"]
