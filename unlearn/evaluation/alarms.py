"""Alarms: what is wrong with a run whatever its other figures say, one line each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_COLLAPSE = 10.0  # points of D_r below the retrained model's
_UNCHANGED = 0.5  # of the original's D_f
_GATE = "pass_rate"  # the column of the history in which the filter's is kept


def alarms(accuracy: Mapping[str, Any], history: pd.DataFrame) -> list[str]:
    """Collapse, no change, an empty gate; what is not known raises none.

    Args:
        accuracy: the record's, percent.
        history: one row a step, as written to history.parquet.
    """
    test = {name: accuracy[name]["test"] for name in ("original", "retrained", "unlearned")}
    found = []
    kept, reached = test["unlearned"]["retain"], test["retrained"]["retain"]
    if kept is not None and reached is not None and kept < reached - _COLLAPSE:
        found.append(f"collapse: D_r is {kept:.2f}, the retrained model's {reached:.2f}")
    left, before = test["unlearned"]["forget"], test["original"]["forget"]
    if left is not None and before is not None and left >= _UNCHANGED * before:
        found.append(f"no change: D_f is {left:.2f}, the original's {before:.2f}")
    rates = history[_GATE].dropna().tolist() if _GATE in history else []
    if rates and rates[-1] == 0:
        found.append("empty gate: the filter let nothing pass at the last step")
    return found
