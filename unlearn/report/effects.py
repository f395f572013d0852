"""What each key of a factorial sweep changes: main effects and two-way interactions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unlearn.errors import ConfigError
from unlearn.report.pivot import natural
from unlearn.report.runs import as_text, check_keys
from unlearn.statistics import student_quantile

# Runs that agree in these, where they are no factors, are a block: they share their teacher.
BLOCKS = ("dataset", "model", "method", "forget", "seed")
_NONE = 1e-9  # what rounding leaves of 0

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Factor:
    """A key and its values as text, the one that others are compared with first."""

    key: str
    levels: tuple[str, ...]


@dataclass(frozen=True)
class Contrast:
    """A difference to be estimated: of one factor's level, or of two factors' levels together."""

    factors: tuple[Factor, ...]
    level: tuple[str, ...]

    @property
    def against(self) -> tuple[str, ...]:
        """The factors' reference levels."""
        return tuple(factor.levels[0] for factor in self.factors)

    def holds(self, texts: pd.DataFrame, level: Sequence[str]) -> NDArray[np.bool_]:
        """Which rows have these levels of the factors."""
        keys = [factor.key for factor in self.factors]
        found: NDArray[np.bool_] = (texts[keys] == list(level)).all(axis=1).to_numpy()
        return found


def factors(runs: pd.DataFrame, words: Sequence[str]) -> list[Factor]:
    """The factors that `KEY` or `KEY=REFERENCE` name; the first value is the reference otherwise.

    Raises:
        ConfigError: for a key that no record has, one that does not vary or is named twice, or a
            reference that no complete run has.
    """
    complete = runs[runs["status"] == "complete"]
    found: list[Factor] = []
    for word in words:
        key, sign, reference = word.partition("=")
        check_keys(runs, "keys", [key])
        if key in [factor.key for factor in found]:
            raise ConfigError("keys", word, "names a key twice")
        levels = sorted(set(complete[key].map(as_text)), key=lambda text: natural([text]))
        if len(levels) < 2:
            raise ConfigError("keys", key, "must have two values or more in the complete runs")
        if sign and reference not in levels:
            raise ConfigError("keys", word, f"allowed are {', '.join(levels)}")
        first = reference if sign else levels[0]
        found.append(Factor(key, (first, *(level for level in levels if level != first))))
    return found


def effects(
    runs: pd.DataFrame, named: Sequence[Factor], figures: Sequence[str], interactions: bool
) -> pd.DataFrame:
    """Differences from the reference, averaged evenly over the other factors' levels.

    Args:
        runs: as `runs.load` gives them.
        named: the factors.
        figures: names of figures.
        interactions: whether two keys' levels may do together what they do not do singly; each
            such difference of differences is a row too.

    Returns:
        A frame of text, its index the key, the level and the reference, its columns the number of
        `runs` at the level and the figures: difference ± 95% confidence interval, which is left
        out where no run is left to tell it, and `-` where the difference itself cannot be told.

    Raises:
        ConfigError: if the runs cannot tell a level from the others.
    """
    complete = runs[runs["status"] == "complete"]
    texts = complete[[factor.key for factor in named]].map(as_text)
    groups = [*combinations(named, 1), *(combinations(named, 2) if interactions else ())]
    wanted = [
        Contrast(group, level)
        for group in groups
        for level in product(*(factor.levels[1:] for factor in group))
    ]
    # Each contrast is a column of the design too: the indicator of its levels.
    columns = _indicators(texts, wanted)
    design = columns, _blocks(complete, [factor.key for factor in named]), _rows(wanted, named)
    every = fitted(*design, np.zeros(len(complete)))
    for contrast, estimate in zip(wanted, every["difference"], strict=True):
        if len(contrast.factors) == 1 and np.isnan(estimate):
            word = f"{contrast.factors[0].key}={contrast.level[0]}"
            raise ConfigError("keys", word, "these runs cannot tell it from other differences")
    cells = {"runs": [f"{count:.0f}" for count in columns.sum(axis=0)]}
    for name in figures:
        found = fitted(*design, complete[name].to_numpy(dtype=float))
        cells[name] = [_cell(*pair) for pair in found.to_numpy()]
    index = [
        (" × ".join(f.key for f in c.factors), ", ".join(c.level), ", ".join(c.against))
        for c in wanted
    ]
    return pd.DataFrame(cells, pd.MultiIndex.from_tuples(index, names=["key", "level", "against"]))


def fitted(columns: Matrix, blocks: Matrix, rows: Matrix, values: Matrix) -> pd.DataFrame:
    """Least squares for some linear combinations of the columns' coefficients.

    The interval lets each run have a spread of its own (HC3), since D_f is often 0 throughout at
    one level and far from it at another.

    Args:
        columns: of the factors, a row a run.
        blocks: an indicator of each, a row a run.
        rows: the combinations, a row each, as wide as `columns`.
        values: of the runs; those that are NaN are left out.

    Returns:
        A row a combination: its `difference`, NaN where the runs cannot tell it, and `half` of
        its 95% confidence interval, NaN where no run is left to tell it.
    """
    known = ~np.isnan(values)
    design, values = np.hstack([columns, blocks])[known], values[known]
    wanted = np.hstack([rows, np.zeros((len(rows), blocks.shape[1]))])
    inverse = np.linalg.pinv(design)
    weights = wanted @ inverse
    difference = weights @ values
    difference[np.abs(weights @ design - wanted).max(axis=1) > 1e-6] = np.nan
    left = values - design @ (inverse @ values)
    free = 1 - np.einsum("ij,ji->i", design, inverse)
    apart = np.where(free > _NONE, left / np.where(free > _NONE, free, 1), np.nan)
    variance = np.where(np.abs(weights) > _NONE, (weights * apart) ** 2, 0).sum(axis=1)
    freedom = len(values) - int(np.linalg.matrix_rank(design)) if len(values) else 0
    quantile = student_quantile(freedom + 1) if freedom > 0 else np.nan
    return pd.DataFrame({"difference": difference, "half": quantile * np.sqrt(variance)})


def _indicators(texts: pd.DataFrame, contrasts: Sequence[Contrast]) -> Matrix:
    """A column for each contrast: 1 in the rows that have its levels, else 0."""
    return np.column_stack([c.holds(texts, c.level) for c in contrasts]).astype(float)


def _rows(wanted: Sequence[Contrast], named: Sequence[Factor]) -> Matrix:
    """Each contrast as a combination of the columns: means over the grid of all levels."""
    levels = product(*(factor.levels for factor in named))
    grid = pd.DataFrame(list(levels), columns=[factor.key for factor in named])
    columns = _indicators(grid, wanted)
    found = np.zeros((len(wanted), columns.shape[1]))
    for row, contrast in zip(found, wanted, strict=True):
        # A factor at its level counts +, at its reference −.
        pairs = zip(contrast.level, contrast.against, strict=True)
        for chosen in product(*(((1, level), (-1, against)) for level, against in pairs)):
            signs, level = zip(*chosen, strict=True)
            row += np.prod(signs) * columns[contrast.holds(grid, level)].mean(axis=0)
    return found


def _blocks(complete: pd.DataFrame, keys: Sequence[str]) -> Matrix:
    names = [name for name in BLOCKS if name not in keys]
    if not names:
        return np.ones((len(complete), 1))
    codes = complete[names].map(as_text).agg(" ".join, axis=1)
    return pd.get_dummies(codes).to_numpy(dtype=float)


def _cell(difference: Any, half: Any) -> str:
    if np.isnan(difference):
        return "-"
    shown = round(float(difference), 2) + 0.0  # no -0
    return f"{shown:+.2f}" + ("" if np.isnan(half) else f" ± {half:.2f}")
