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
    """A difference to be estimated.

    Args:
        key: one, or two for an interaction.
        level: of each key.
        against: of each key, its reference.
    """

    key: tuple[str, ...]
    level: tuple[str, ...]
    against: tuple[str, ...]


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
    pairs = list(combinations(named, 2)) if interactions else []
    wanted = [*_main(named), *_together(pairs)]
    columns = _columns(texts, named, pairs)
    blocks = _blocks(complete, [factor.key for factor in named])
    rows = _rows(wanted, named, pairs)
    told = {
        name: fitted(columns, blocks, rows, complete[name].to_numpy(dtype=float))
        for name in figures
    }
    every = fitted(columns, blocks, rows, np.zeros(len(complete)))
    for contrast, estimate in zip(wanted, every["difference"], strict=True):
        if len(contrast.key) == 1 and np.isnan(estimate):
            word = f"{contrast.key[0]}={contrast.level[0]}"
            raise ConfigError("keys", word, "these runs cannot tell it from other differences")
    cells = {"runs": [str(_count(texts, contrast)) for contrast in wanted]}
    cells |= {name: [_cell(*pair) for pair in found.to_numpy()] for name, found in told.items()}
    parts = [(c.key, c.level, c.against) for c in wanted]
    index = [(" × ".join(k), ", ".join(level), ", ".join(a)) for k, level, a in parts]
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


def _main(named: Sequence[Factor]) -> list[Contrast]:
    return [
        Contrast((factor.key,), (level,), (factor.levels[0],))
        for factor in named
        for level in factor.levels[1:]
    ]


def _together(pairs: Sequence[tuple[Factor, Factor]]) -> list[Contrast]:
    return [
        Contrast((one.key, other.key), level, (one.levels[0], other.levels[0]))
        for one, other in pairs
        for level in product(one.levels[1:], other.levels[1:])
    ]


def _columns(
    texts: pd.DataFrame, named: Sequence[Factor], pairs: Sequence[tuple[Factor, Factor]]
) -> Matrix:
    """An indicator of each level but the reference, and of each two together for the pairs."""
    single = {
        factor.key: [(texts[factor.key] == level).to_numpy(float) for level in factor.levels[1:]]
        for factor in named
    }
    joint = [a * b for one, other in pairs for a in single[one.key] for b in single[other.key]]
    return np.column_stack([*(column for part in single.values() for column in part), *joint])


def _rows(
    wanted: Sequence[Contrast], named: Sequence[Factor], pairs: Sequence[tuple[Factor, Factor]]
) -> Matrix:
    """Each contrast as a combination of the columns: means over the grid of all levels."""
    grid = pd.DataFrame(
        list(product(*(factor.levels for factor in named))), columns=[f.key for f in named]
    )
    columns = _columns(grid, named, pairs)

    def mean(key: tuple[str, ...], level: Sequence[str]) -> Matrix:
        at = (grid[list(key)] == list(level)).all(axis=1).to_numpy()
        result: Matrix = columns[at].mean(axis=0)
        return result

    found = []
    for contrast in wanted:
        total = np.zeros(columns.shape[1])
        # each key at its level counts +, at its reference −
        for choice in product((True, False), repeat=len(contrast.key)):
            both = zip(choice, contrast.level, contrast.against, strict=True)
            level = [its if at else against for at, its, against in both]
            total += (-1) ** choice.count(False) * mean(contrast.key, level)
        found.append(total)
    return np.array(found)


def _blocks(complete: pd.DataFrame, keys: Sequence[str]) -> Matrix:
    names = [name for name in BLOCKS if name not in keys]
    if not names:
        return np.ones((len(complete), 1))
    codes = complete[names].map(as_text).agg(" ".join, axis=1)
    return pd.get_dummies(codes).to_numpy(dtype=float)


def _count(texts: pd.DataFrame, contrast: Contrast) -> int:
    at = texts[list(contrast.key)] == list(contrast.level)
    return int(at.all(axis=1).sum())


def _cell(difference: Any, half: Any) -> str:
    if np.isnan(difference):
        return "-"
    shown = round(float(difference), 2) + 0.0  # no -0
    return f"{shown:+.2f}" + ("" if np.isnan(half) else f" ± {half:.2f}")
