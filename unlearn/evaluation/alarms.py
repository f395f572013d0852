"""Alarms: signs that a run went wrong, whatever its other figures say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_COLLAPSE = 10.0  # points of D_r below the retrained model's
_UNCHANGED = 0.5  # share of the original's D_f
_PASS_RATE = "pass_rate"  # the filter's column of the history


def find_alarms(accuracy: Mapping[str, Any], history: pd.DataFrame) -> list[str]:
    """Find alarms; a figure that is not known raises none.

    Args:
        accuracy: The record's entry, percent.
        history: One row a recorded step, as written to history.parquet.

    Returns:
        One line for each alarm, which starts with its name: `collapse` (D_r is more than 10
        points below the retrained model's), `no change` (D_f is at least half of the original's),
        `empty gate` (the filter rejected every sample at the last step).
    """
    original, retrained, unlearned = (
        accuracy[name]["test"] for name in ("original", "retrained", "unlearned")
    )
    alarms = []
    found, expected = unlearned["retain"], retrained["retain"]
    if None not in (found, expected) and found < expected - _COLLAPSE:
        alarms.append(f"collapse: D_r is {found:.2f}, the retrained model's {expected:.2f}")
    found, before = unlearned["forget"], original["forget"]
    if None not in (found, before) and found >= _UNCHANGED * before:
        alarms.append(f"no change: D_f is {found:.2f}, the original's {before:.2f}")
    rates = history[_PASS_RATE].dropna().tolist() if _PASS_RATE in history else []
    if rates and rates[-1] == 0:
        alarms.append("empty gate: the filter let nothing pass at the last step")
    return alarms
