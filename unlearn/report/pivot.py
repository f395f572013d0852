"""Runs as a table of mean ± 95% confidence interval, pivoted by any keys."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
from scipy import stats

from unlearn.report.runs import as_text


def interval(values: pd.Series[float], digits: int = 2) -> str:
    """Mean ± 95% confidence interval of Student's t over the runs that have the figure."""
    known = values.dropna().astype(float)
    if len(known) < 2:
        return "-" if known.empty else f"{known.iloc[0]:.{digits}f}"
    few = f" ({len(known)} of {len(values)})" if len(known) < len(values) else ""
    return f"{known.mean():.{digits}f} ± {half_width(known):.{digits}f}{few}"


def half_width(known: pd.Series[float]) -> float:
    """Half of the 95% confidence interval of the mean of two or more values."""
    return float(stats.t.ppf(0.975, len(known) - 1) * known.std() / math.sqrt(len(known)))


def pivot(
    runs: pd.DataFrame, rows: Sequence[str], columns: Sequence[str], figures: Sequence[str]
) -> pd.DataFrame:
    """A cell for each combination of rows, columns and figure, over complete runs.

    Args:
        runs: as `runs.load` gives them.
        rows: keys whose combinations are the rows.
        columns: keys whose combinations stand side by side; none gives one block.
        figures: names of figures.

    Returns:
        A frame of text, its index the rows' values, its columns the figures under the columns'
        values, each block with the number of `runs` and, where some failed, of `failed` ones.
    """
    texts = runs.assign(**{key: runs[key].map(as_text) for key in {*rows, *columns}})
    blocks = texts.groupby(list(columns), sort=False) if columns else [((), texts)]
    found = {}
    for name, block in blocks:
        heading = ", ".join(f"{k}={v}" for k, v in zip(columns, name, strict=True))
        found[heading] = _block(block, rows, figures)
    table = pd.concat(found, axis=1, sort=False) if columns else found[""]
    return table.loc[sorted(table.index, key=_natural)].fillna("")


def _block(runs: pd.DataFrame, rows: Sequence[str], figures: Sequence[str]) -> pd.DataFrame:
    lines = {}
    for name, group in runs.groupby(list(rows), sort=False):
        complete = group[group["status"] == "complete"]
        cells = {"runs": str(len(complete))}
        if (runs["status"] == "failed").any():
            cells["failed"] = str(len(group) - len(complete))
        lines[name] = cells | {figure: interval(complete[figure]) for figure in figures}
    table = pd.DataFrame.from_dict(lines, orient="index")
    table.index = pd.MultiIndex.from_tuples(lines, names=list(rows))
    return table


def _natural(values: tuple[str, ...]) -> list[tuple[int, float, str]]:
    """Numbers in their order, before words, after what is off."""
    return [_rank(value) for value in values]


def _rank(value: str) -> tuple[int, float, str]:
    try:
        return (1, float(value.split(",")[0]), value)
    except ValueError:
        return (0 if value == "null" else 2, 0.0, value)
