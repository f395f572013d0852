"""Effects: known ones found again, against closed forms, with intervals that hold 95% of them."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.helpers.synthetic import put, report, rows
from unlearn.errors import ConfigError
from unlearn.report.effects import effects, factors
from unlearn.report.notes import DIFFERENCES
from unlearn.report.runs import as_text

TARGET, GATE, NORM = "method.target", "filter.gate", "method.batch_norm"
LEVELS = {TARGET: ("masked", "raw", "postfilter"), GATE: (None, 0.01), NORM: ("frozen", "train")}
BY_LEVEL = {("raw",): 20.0, ("postfilter",): -3.0, (0.01,): 5.0, ("train",): 0.0}


def table(seeds: int = 5, noise: float = 1.0, joint: float = 0.0, random: int = 0) -> pd.DataFrame:
    """A full factorial with known effects; raw together with the gate adds `joint`."""
    draw = np.random.default_rng(random)
    lines = []
    for seed, levels in product(range(seeds), product(*LEVELS.values())):
        known = sum(BY_LEVEL.get((level,), 0.0) for level in levels)
        known += joint if {"raw", 0.01} <= set(levels) else 0.0
        lines.append(
            {
                **dict(zip(LEVELS, levels, strict=True)),
                **{"dataset": "digits", "model": "lenet", "method": "gkt", "forget": "3"},
                **{"seed": seed, "status": "complete"},
                "D_f": 10 * seed + known + draw.normal(0, noise),
                "AIN": 1.0,
            }
        )
    return pd.DataFrame(lines)


def cells(found: pd.DataFrame, figure: str = "D_f") -> dict[tuple[str, str], tuple[float, float]]:
    """Difference and half of the interval by key and level."""
    read = {}
    for (key, level, _), cell in found[figure].items():
        difference, _, half = cell.partition(" ± ")
        read[key, level] = float(difference), float(half or "nan")
    return read


WORDS = [f"{TARGET}=masked", f"{GATE}=null", f"{NORM}=frozen"]


def estimated(runs: pd.DataFrame, interactions: bool = False) -> dict[tuple[str, str], Any]:
    return cells(effects(runs, factors(runs, WORDS), ["D_f"], interactions))


def test_a_balanced_sweep_gives_differences_of_means() -> None:
    runs = table()
    found = effects(runs, factors(runs, WORDS), ["D_f"], interactions=False)
    assert list(found.index) == [
        (TARGET, "postfilter", "masked"),
        (TARGET, "raw", "masked"),
        (GATE, "0.01", "null"),
        (NORM, "train", "frozen"),
    ]
    assert list(found["runs"]) == ["20", "20", "30", "30"]
    for (key, level), (difference, _) in cells(found).items():
        at = runs.groupby(runs[key].map(as_text))["D_f"].mean()
        reference = {TARGET: "masked", GATE: "null", NORM: "frozen"}[key]
        assert difference == pytest.approx(at[level] - at[reference], abs=0.006)


def test_two_samples_of_unequal_spread_have_the_closed_form() -> None:
    runs = table(seeds=3)
    runs = runs[(runs[TARGET] != "postfilter")].assign(seed=0)  # one block
    found = cells(effects(runs, factors(runs, [f"{TARGET}=masked"]), ["D_f"], False))
    one, other = (runs.loc[runs[TARGET] == level, "D_f"] for level in ("raw", "masked"))
    # HC3 for two means: each sample's variance over its size less one
    error = np.sqrt(one.var() / (len(one) - 1) + other.var() / (len(other) - 1))
    half = stats.t.ppf(0.975, len(one) + len(other) - 2) * error
    difference, found_half = found[TARGET, "raw"]
    assert difference == pytest.approx(one.mean() - other.mean(), abs=0.006)
    assert found_half == pytest.approx(half, abs=0.006)


def test_seeds_are_blocks() -> None:
    """Seeds that differ by 10 points do not widen an interval of runs that differ by 1."""
    found = estimated(table())
    assert all(half < 1.0 for _, half in found.values())


@pytest.mark.parametrize("uneven", [False, True])
def test_the_intervals_hold_95_percent_of_the_known_effects(uneven: bool) -> None:
    truth = {(TARGET, "raw"): 20, (TARGET, "postfilter"): -3, (GATE, "0.01"): 5, (NORM, "train"): 0}
    held, trials = 0, 150
    for trial in range(trials):
        runs = table(random=trial)
        if uneven:  # masked runs all but agree, as where D_f is 0
            quiet = runs[TARGET] == "masked"
            runs.loc[quiet, "D_f"] = 10 * runs["seed"] + table(noise=0.05, random=trial)["D_f"]
            runs.loc[quiet, "D_f"] -= 10 * runs["seed"]
        if trial % 2:  # a fraction of the sweep
            runs = runs.sample(frac=0.7, random_state=trial)
        for key, (difference, half) in estimated(runs).items():
            held += abs(difference - truth[key]) <= half + 0.005
    share = held / (4 * trials)
    assert 0.93 <= share <= 0.985


def test_interactions_are_differences_of_differences() -> None:
    runs = table(joint=8.0, noise=0.3)
    found = estimated(runs, interactions=True)
    both = found[f"{TARGET} × {GATE}", "raw, 0.01"]
    means = runs.groupby([TARGET, runs[GATE].notna()])["D_f"].mean()
    expected = (
        means["raw", True] - means["raw", False] - means["masked", True] + means["masked", False]
    )
    assert both[0] == pytest.approx(expected, abs=0.006)
    assert abs(both[0] - 8) < both[1] < 2
    others = [
        value for (key, level), value in found.items() if "×" in key and "raw, 0" not in level
    ]
    assert len(others) == 2 + 1 + 1
    assert sum(abs(difference) > half for difference, half in others) <= 1
    # a main effect stays the average over the other keys' values
    assert found[TARGET, "raw"][0] == pytest.approx(20 + 8 / 2, abs=0.3)
    assert found[GATE, "0.01"][0] == pytest.approx(5 + 8 / 3, abs=0.3)


def test_figures_that_some_runs_lack_are_told_as_far_as_they_can_be() -> None:
    runs = table()
    runs.loc[runs[TARGET] == "raw", "AIN"] = np.nan
    found = effects(runs, factors(runs, WORDS), ["AIN"], interactions=False)["AIN"]
    assert found[TARGET, "raw", "masked"] == "-"
    assert found[GATE, "0.01", "null"] == "+0.00 ± 0.00"


def test_one_run_a_cell_has_no_interval() -> None:
    runs = table(seeds=1).drop_duplicates(GATE)
    found = effects(runs, factors(runs, [GATE]), ["D_f"], interactions=False)["D_f"]
    assert [("±" in cell, cell[0]) for cell in found] == [(False, "+")]


def test_what_the_runs_cannot_tell_apart_is_refused() -> None:
    runs = table()
    confounded = runs[(runs[GATE].notna()) == (runs[NORM] == "train")]
    with pytest.raises(ConfigError, match=r"keys=filter\.gate=0\.01: these runs cannot tell"):
        effects(confounded, factors(confounded, [GATE, NORM]), ["D_f"], interactions=False)


def sweep(outputs: Path) -> None:
    for seed, target, gate in product(range(3), ("raw", "masked"), (None, 0.01)):
        D_r = 90 + seed + (4 if target == "raw" else 0) - (2 if gate else 0) + 0.1 * (seed * 7 % 3)
        put(outputs, seed=seed, D_r=D_r, config={"method.target": target, "filter.gate": gate})
    put(outputs, seed=7, status="failed", error="RunError: x", config={"method.target": "raw"})


def test_the_table_is_made_from_records_and_from_lines(tmp_path: Path) -> None:
    outputs, lines = tmp_path / "outputs", tmp_path / "runs.csv"
    sweep(outputs)
    words = ["--keys", "method.target=masked,filter.gate", "--figures", "D_r"]
    found = rows("effects", outputs, *words, "--interactions", "--runs-csv", lines)
    assert [list(row.values()) for row in found] == [
        ["method.target", "raw", "masked", "6", "+4.00 ± 0.00"],
        ["filter.gate", "0.01", "null", "6", "-2.00 ± 0.00"],
        ["method.target × filter.gate", "raw, 0.01", "masked, null", "3", "+0.00 ± 0.00"],
    ]
    assert rows("effects", lines, *words) == found[:2]
    shown = report("effects", outputs, *words).stdout
    assert DIFFERENCES in shown
    assert "Failed: 1 of 13 runs" in shown
    assert "Mixed" not in shown
    assert "differ in filter.gate;" in report("effects", outputs, "--keys", "method.target").stdout
