"""The looks that the runner took at a student, read from the run's history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unlearn.roles import SELECT

if TYPE_CHECKING:
    import pandas as pd


def read_looks(history: pd.DataFrame, *figures: str) -> pd.DataFrame:
    """The looks at the last stage in which any of these figures was taken, by step.

    Args:
        history: one row a step, as written to history.parquet.
        figures: columns to return; one that is not there is unknown throughout.
    """
    table = history.reindex(columns=["stage", "step", *dict.fromkeys(figures)])
    return last_stage(table, *figures).set_index("step")[[*figures]].astype(float)


def last_stage(history: pd.DataFrame, *figures: str) -> pd.DataFrame:
    """The rows of the last stage in which any of these figures was taken, one a step.

    An earlier student that was selected in the end is none of them: it was looked at in its turn.
    """
    seen = history[history["stage"] != SELECT].dropna(subset=[*figures], how="all")
    last = seen[seen["stage"] == seen["stage"].iloc[-1]] if len(seen) else seen
    return last.drop_duplicates("step", keep="last")
