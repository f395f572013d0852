"""Runs as a table of means with 95% confidence intervals, grouped by any keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unlearn.report.runs import DAGGER, as_text, label_classes
from unlearn.statistics import half_width, student_quantile


def format_mean(values: pd.Series | NDArray[Any], digits: int = 2) -> str:
    """Mean ± half of its 95% confidence interval (Student's t), as the text of a cell.

    Args:
        values: of the runs. NaN marks a run without the figure, which is left out; the cell then
            says how many of the runs have it.
        digits: after the decimal point.
    """
    every = np.asarray(values, dtype=float)
    known = every[~np.isnan(every)]
    if len(known) < 2:
        return "-" if len(known) == 0 else f"{known[0]:.{digits}f}"
    few = f" ({len(known)} of {len(every)})" if len(known) < len(every) else ""
    return f"{known.mean():.{digits}f} ± {half_width(known):.{digits}f}{few}"


def means(values: pd.DataFrame, by: str) -> pd.DataFrame:
    """Group means of the column `value`, with half of their 95% confidence intervals.

    Args:
        values: holds the columns `value` and `by`; rows whose value is NaN are left out.
        by: the column whose values make the groups.

    Returns:
        A row a group: `mean`, and `half`, which is NaN where there is one value alone.
    """
    groups = values.dropna(subset=["value"]).groupby(by)["value"]
    count = groups.count()
    half = count.clip(lower=2).map(student_quantile) * groups.std() / count**0.5
    return pd.DataFrame({"mean": groups.mean(), "half": half})


def pivot(
    runs: pd.DataFrame, rows: Sequence[str], columns: Sequence[str], figures: Sequence[str]
) -> pd.DataFrame:
    """Average the figures of complete runs by rows and columns.

    Args:
        runs: as `runs.load` gives them.
        rows: config keys; each combination of values is a row.
        columns: config keys; each combination of values is a block of columns. None gives one
            block.
        figures: names of figures, which are columns of the runs.

    Returns:
        A frame of text. Its index holds the values of the row keys. Each block has the number of
        `runs`, of `failed` and `unfinished` ones if there are any, and the figures. With column
        keys the columns have two levels: block and figure. A dagger marks rows, and blocks of
        several, that include oracle runs.
    """
    texts = runs.assign(**{key: runs[key].map(as_text) for key in {*rows, *columns}})
    if "forget" in {*rows, *columns}:
        texts["forget"] = label_classes(runs)
    blocks = texts.groupby(list(columns), sort=False) if columns else [((), texts)]
    found = {}
    for name, block in blocks:
        heading = ", ".join(f"{k}={v}" for k, v in zip(columns, name, strict=True))
        found[heading] = _block(block, rows, figures, DAGGER if columns else "")
    table = pd.concat(found, axis=1, sort=False) if columns else found[""]
    table = table.loc[sorted(table.index, key=natural)].fillna("")
    steered = set(texts.loc[runs["oracle"], list(rows)].itertuples(index=False))
    names = [(*n[:-1], f"{n[-1]}{DAGGER}") if n in steered else n for n in table.index]
    return table.set_axis(pd.MultiIndex.from_tuples(names, names=list(rows)))


def _block(
    runs: pd.DataFrame, rows: Sequence[str], figures: Sequence[str], mark: str
) -> pd.DataFrame:
    status = runs["status"].to_numpy()
    steered = (runs["oracle"].map(as_text) == "true").to_numpy()
    values = {figure: runs[figure].to_numpy(dtype=float) for figure in figures}
    others = [name for name in ("failed", "unfinished") if (status == name).any()]
    lines = {}
    for name, at in runs.groupby(list(rows)).indices.items():
        complete = at[status[at] == "complete"]
        cells = {"runs": f"{len(complete)}{mark if steered[at].any() else ''}"}
        cells |= {other: str((status[at] == other).sum()) for other in others}
        cells |= {figure: format_mean(values[figure][complete]) for figure in figures}
        lines[name if isinstance(name, tuple) else (name,)] = cells
    table = pd.DataFrame.from_dict(lines, orient="index")
    table.index = pd.MultiIndex.from_tuples(lines, names=list(rows))
    return table


def natural(values: Sequence[str]) -> list[tuple[int, float, str]]:
    """Sort key of values as text: `null` first, then numbers in order, then words."""
    return [_rank(value) for value in values]


def _rank(value: str) -> tuple[int, float, str]:
    try:
        return (1, float(value.split(",")[0]), value)
    except ValueError:
        return (0 if value == "null" else 2, 0.0, value)
