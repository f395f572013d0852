"""Alarms on runs that went wrong, and none on a run that did not."""

import pandas as pd
import pytest

from unlearn.evaluation.alarms import find_alarms


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
        (97.0, 0.0, None, []),
    ],
)
def test_alarms(
    retain: float | None, forget: float | None, rate: float | None, expected: list[str]
) -> None:
    tests = {"original": (99.0, 90.0), "retrained": (98.0, 0.0), "unlearned": (retain, forget)}
    accuracy = {name: {"test": {"retain": r, "forget": f}} for name, (r, f) in tests.items()}
    history = pd.DataFrame({"stage": ["teacher", "transfer"], "step": [1, 1]})
    if rate is not None:  # a method without a gate has no such column
        history = history.assign(pass_rate=[None, rate])
    found = find_alarms(accuracy, history)
    assert len(found) == len(expected)
    assert all(line.startswith(start) for line, start in zip(found, expected, strict=True))
