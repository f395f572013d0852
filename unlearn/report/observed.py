"""Accuracies of students while they were unlearned, averaged over the histories of runs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from unlearn.files import read_file
from unlearn.records.history import last_stage
from unlearn.report.groups import Group
from unlearn.report.pivot import means

# A line is the mean of this many runs at most, to save time.
MOST_RUNS = 50
_MOST_ROWS = 10_000_000  # of a history; a small damaged file can claim any number
_COLUMNS = ["stage", "step", "retain", "forget"]


@dataclass(frozen=True)
class Curve:
    """Accuracies of one group against iterations.

    Args:
        group: the runs.
        retain: D_r in percent by step: its `mean`, and `half` of the 95% confidence interval.
        forget: D_f, likewise.
        stages: names of the stages of the methods in which the students were evaluated.
        runs: number of histories in the means.
    """

    group: Group
    retain: pd.DataFrame
    forget: pd.DataFrame
    stages: frozenset[str]
    runs: int


def curve(group: Group) -> Curve | None:
    """The curve of a group over its first `MOST_RUNS` runs, None if there is no history."""
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


def _observed(directory: str) -> pd.DataFrame:
    """The steps at which a run evaluated its student, in the last stage in which it did so."""
    folder = Path(directory)
    found = read_file(folder / "history.parquet", _read_history, inside=folder)
    return pd.DataFrame() if found is None else found


def _read_history(path: Path) -> pd.DataFrame:
    file = pq.ParquetFile(path)
    if not set(_COLUMNS) <= set(file.schema_arrow.names):
        return pd.DataFrame()
    if file.metadata.num_rows > _MOST_ROWS:
        raise ValueError(f"{file.metadata.num_rows} rows; at most {_MOST_ROWS} are read")
    history: pd.DataFrame = file.read(columns=_COLUMNS).to_pandas()
    return last_stage(history.astype({"step": int, "retain": float, "forget": float}), "forget")
