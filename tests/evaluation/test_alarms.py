"""Alarms: each on what it is for, and none on a run that is as it should be."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from unlearn.evaluation.alarms import find_alarms

SOUND = pd.DataFrame({"stage": ["teacher", "transfer"], "step": [1, 1], "pass_rate": [None, 0.4]})


def figures(retain: float | None, forget: float | None) -> dict[str, Any]:
    tests = {"original": (99.0, 90.0), "retrained": (98.0, 0.0), "unlearned": (retain, forget)}
    return {name: {"test": {"retain": r, "forget": f}} for name, (r, f) in tests.items()}


@pytest.mark.parametrize(
    ("retain", "forget", "rate", "expected"),
    [
        (97.0, 1.0, 0.4, []),
        (88.0, 44.9, 0.01, []),
        (87.9, 0.0, 0.4, ["collapse: D_r is 87.90"]),
        (97.0, 45.0, 0.4, ["no change: D_f is 45.00"]),
        (97.0, 0.0, 0.0, ["empty gate"]),
        (10.0, 80.0, 0.0, ["collapse", "no change", "empty gate"]),
        (None, None, 0.4, []),
    ],
)
def test_an_alarm_is_raised_where_it_is_due(
    retain: float | None, forget: float | None, rate: float, expected: list[str]
) -> None:
    history = SOUND.assign(pass_rate=[None, rate])
    found = find_alarms(figures(retain, forget), history)
    assert len(found) == len(expected)
    for line, start in zip(found, expected, strict=True):
        assert line.startswith(start)


def test_a_method_without_a_gate_has_none_to_be_empty() -> None:
    history = pd.DataFrame({"stage": ["mask"], "step": [1]})
    assert find_alarms(figures(97.0, 0.0), history) == []
