"""What the runner saw of many students as they changed, read from the runs' histories."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from unlearn.records.history import last_stage
from unlearn.report.groups import Group
from unlearn.report.pivot import means

# A line is the mean of this many runs at most: more would only take time.
MOST_RUNS = 50
_COLUMNS = ["stage", "step", "retain", "forget"]


@dataclass(frozen=True)
class Curve:
    """One group's accuracies against iterations.

    Args:
        group: whose.
        retain: D_r, percent: `mean` and `half` of the 95% confidence interval by step.
        forget: D_f, the same.
        stages: names of the methods' stages in which the students were observed.
        runs: how many histories there are in the means.
    """

    group: Group
    retain: pd.DataFrame
    forget: pd.DataFrame
    stages: frozenset[str]
    runs: int


def curve(group: Group) -> Curve | None:
    """The group's curve over its first `MOST_RUNS` runs, None if no student was observed."""
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(_observed, group.runs["directory"][:MOST_RUNS]))
    histories = [history for history in found if len(history)]
    if not histories:
        return None
    seen = pd.concat(histories)
    retain, forget = (
        means(seen.rename(columns={part: "value"}), "step") for part in ("retain", "forget")
    )
    return Curve(group, retain, forget, frozenset(seen["stage"]), len(histories))


def left_out(groups: Sequence[Group]) -> int:
    """How many runs of these groups are not read."""
    return sum(max(0, len(group.runs) - MOST_RUNS) for group in groups)


def _observed(directory: str) -> pd.DataFrame:
    """The steps at which the runner looked, of the last stage in which it did."""
    try:
        table = pq.ParquetFile(Path(directory, "history.parquet")).read(columns=_COLUMNS)
    except (OSError, pa.ArrowInvalid):  # there is none, or it is no history
        return pd.DataFrame()
    history: pd.DataFrame = table.to_pandas()
    if not set(_COLUMNS) <= set(history):
        return pd.DataFrame()
    return last_stage(history, "forget")
