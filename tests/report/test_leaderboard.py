"""The leaderboard: who stands where, by what, and what is said of entries that fall short."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.helpers.synthetic import put, report, rows
from unlearn.report.leaderboard import describe_ranking, leaderboard
from unlearn.report.pivot import format_mean
from unlearn.report.runs import load

RETRAINED = 97.0  # D_r of the reference in every record


def enter(
    outputs: Path,
    method: str,
    *,
    access: str = "none",
    gap: float = 0.0,
    seeds: int = 2,
    forget: tuple[int, ...] = (0,),
    **changes: Any,
) -> None:
    """Runs of a method over seeds and classes, its D_r this far from the retrained model's."""
    own = {"config": {"method.name": method}, "access": access, **changes}
    own["at"] = {"accuracy.unlearned.test.retain": RETRAINED + gap}
    for seed in range(seeds):
        for number in forget:
            put(outputs, seed=seed, forget=[number], D_r=RETRAINED, **own)


def order(table: pd.DataFrame) -> list[tuple[str, str, str]]:
    """(access, rank, method) from top to bottom."""
    return [tuple(index[2:]) for index in table.index]


def test_methods_are_ranked_within_their_access_between_the_references(tmp_path: Path) -> None:
    for method, access, inside, gap in (
        ("original", "none", 0.0, 1.0),
        ("retrain", "retain", 1.0, 0.0),
        ("scrub", "all", 0.9, 0.0),
        ("fine_tune", "retain", 0.4, 0.0),
        ("delete", "forget", 0.2, 0.0),
        ("regrow", "none", 0.5, -0.3),
        ("gkt", "none", 0.5, 0.2),
        ("noise", "none", 0.7, -20.0),
        ("teller", "oracle", 0.1, 0.0),
    ):
        enter(tmp_path, method, access=access, gap=gap, audits_inside=inside)
    enter(tmp_path, "ruin", gap=-40.0, audits_inside=0.9, alarms=["collapse: D_r is 57.00, ..."])
    assert order(leaderboard(load([tmp_path]))) == [
        ("retain", "-", "retrain"),
        ("none", "1", "noise"),
        ("none", "2", "gkt"),
        ("none", "3", "regrow"),
        ("none", "4", "ruin"),
        ("oracle", "1", "teller†"),
        ("forget", "1", "delete"),
        ("retain", "1", "fine_tune"),
        ("all", "1", "scrub"),
        ("none", "-", "original"),
    ]


def test_equal_ones_share_a_rank_and_the_unknown_stand_last(tmp_path: Path) -> None:
    enter(tmp_path, "a", audits_inside=0.5, gap=0.2)
    enter(tmp_path, "b", audits_inside=0.5, gap=-0.2)
    enter(tmp_path, "c", audits_inside=0.1)
    enter(tmp_path, "d", status="failed", error="RunError: lost", audits_inside=None)
    table = leaderboard(load([tmp_path]))
    ranks = [("1", "a"), ("1", "b"), ("3", "c"), ("-", "d")]
    assert order(table) == [("none", *rank) for rank in ranks]
    assert list(table.iloc[3][["runs", "failed", "D_f", "worst D_f"]]) == ["0", "2", "-", "-"]


def audit(inside: bool, original: float) -> dict[str, Any]:
    """A number that tells the original from three retrained networks if it is not in 0 to 1."""
    values = {"original": original, "masked": 0.5, "unlearned": 0.5 if inside else 7.0}
    spread = {"low": 0.0, "high": 1.0, "inside": inside, "left_out": [True] * 3}
    return {**values, "retrained": 0.5, "references": [0.4, 0.6], **spread}


def test_what_cannot_tell_networks_apart_does_not_count(tmp_path: Path) -> None:
    """One passes what tells, the other passes three that pass everyone."""
    for method, tells in (("erases", True), ("hides", False)):
        blind = dict.fromkeys(("cka/first", "cka/last", "recovery/head"), audit(not tells, 0.5))
        found = blind | {"probe/last": audit(tells, 5.0)}
        enter(tmp_path / "runs", method, audits=found, audits_inside=0.25 if tells else 0.75)
    lines = tmp_path / "runs.csv"
    board = rows("leaderboard", tmp_path / "runs", "--runs-csv", lines)
    shown = ("rank", "method", "inside %", "all audits %")
    assert [tuple(row[name] for name in shown) for row in board] == [
        ("1", "erases", "100.0 ± 0.0", "25.0 ± 0.0"),
        ("2", "hides", "0.0 ± 0.0", "75.0 ± 0.0"),
    ]
    assert rows("leaderboard", lines) == board
    assert "Mixed" not in report("leaderboard", tmp_path / "runs").stdout


def test_records_and_the_lines_of_others_stand_on_one_board(tmp_path: Path) -> None:
    """As when a new entry's runs are set beside a board that was published as CSV."""
    for method, tells in (("erases", True), ("hides", False)):
        found = {"probe/last": audit(tells, 5.0), "cka/first": audit(True, 0.5)}
        enter(tmp_path / method, method, audits=found, audits_inside=0.5)
    together = rows("leaderboard", tmp_path / "erases", tmp_path / "hides")
    lines = tmp_path / "hides.csv"
    rows("leaderboard", tmp_path / "hides", "--runs-csv", lines)
    assert together[0]["inside %"] == "100.0 ± 0.0"
    assert rows("leaderboard", tmp_path / "erases", lines) == together


def test_without_audits_figures_are_held_against_the_spread_of_the_retrained(
    tmp_path: Path,
) -> None:
    """Floors differ by seed: the largest of a class counts; 12 is where retrained ones relearn."""
    counts = {"unlearned_steps": 12.0, "retrained_steps": 12.0, "ain": 1.0}
    for seed, floor in enumerate((2.0, 6.0)):
        for method, excess in (("hidden", 13.0), ("gone", 5.0)):
            at = {"probe.excess": excess, "probe.floor.excess": floor, "divergence": {}}
            config = {"method.name": method}
            put(tmp_path, seed=seed, config=config, at=at, membership={}, relearn=counts)
    table = leaderboard(load([tmp_path]))
    assert order(table) == [("none", "1", "gone"), ("none", "2", "hidden")]
    assert list(table["inside %"]) == ["100.0 ± 0.0", "50.0 ± 0.0"]
    assert table["probe excess"].iloc[1] == format_mean(pd.Series([11.0, 7.0]))


def test_intervals_are_over_seeds_of_means_over_classes(tmp_path: Path) -> None:
    for seed in range(3):
        for number in (0, 7):
            at = {"accuracy.unlearned.test.forget": seed + 4.0 * (number == 7)}
            put(tmp_path, seed=seed, forget=[number], at=at)
    row = leaderboard(load([tmp_path])).iloc[0]
    expected = [format_mean(pd.Series([2.0, 3.0, 4.0])), "5.00 (7)", "6"]
    assert list(row[["D_f", "worst D_f", "runs"]]) == expected


def test_cost_and_alarms_are_shown(tmp_path: Path) -> None:
    costs = {
        "seconds": {"unlearn": 3.0, "retrained": 6.0},
        "ledger": {"images": 140, "labels": 140},
        "peak_memory": {"resident": 900.0, "added": 31.6, "cuda": None},
    }
    alarms = ["collapse: D_r is 20.00, the retrained model's 97.00", "empty gate: nothing"]
    enter(tmp_path, "delete", access="forget", alarms=alarms, **costs)
    row = leaderboard(load([tmp_path])).iloc[0]
    assert row["× retraining"] == format_mean(pd.Series([0.5, 0.5]))
    assert (row["real images"], row["added MiB"]) == ("140", "32")
    assert "GPU MiB" not in row, "no run had a GPU"
    assert row["alarms"] == "collapse 2, empty gate 2"


def test_entries_that_fall_short_are_named(tmp_path: Path) -> None:
    enter(tmp_path, "whole", seeds=5, forget=(0, 2))
    enter(tmp_path, "part", seeds=5, forget=(0,))
    enter(tmp_path, "few", seeds=4, forget=(0, 2))
    few, uneven = describe_ranking(load([tmp_path]))[-2:]
    assert few.endswith(": few (digits, lenet).")
    assert uneven.endswith(": few (digits, lenet), part (digits, lenet).")


def test_a_run_that_test_data_chose_competes_with_the_oracles(tmp_path: Path) -> None:
    enter(tmp_path, "gkt", oracle=True)
    enter(tmp_path, "gkt", gap=-1.0)
    assert order(leaderboard(load([tmp_path]))) == [("none", "1", "gkt"), ("oracle", "1", "gkt†")]


@pytest.mark.parametrize("form", ["terminal", "markdown", "csv", "latex"])
def test_the_formats_and_a_table_of_lines_say_the_same(tmp_path: Path, form: str) -> None:
    enter(tmp_path / "runs", "gkt", alarms=["collapse: far"])
    enter(tmp_path / "runs", "delete", access="forget")
    lines, words = tmp_path / "runs.csv", ["--format", form]
    first = report("leaderboard", tmp_path / "runs", *words, "--runs-csv", lines)
    assert "collapse 2" in first.stdout
    assert report("leaderboard", lines, *words).stdout == first.stdout


def test_a_config_of_many_keys_is_read_without_a_warning(tmp_path: Path) -> None:
    """Of a column put into a frame of more than 100 blocks, as real configs make, pandas warns."""
    put(tmp_path, config={f"method.key_{number}": number for number in range(100)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        done = report("leaderboard", tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_page_has_the_board(tmp_path: Path) -> None:
    enter(tmp_path / "runs", "gkt")
    page = tmp_path / "board.html"
    done = report("page", tmp_path / "runs", "--leaderboard", "--output", page)
    assert done.returncode == 0, done.stderr
    assert '<button type="button">rank</button>' in page.read_text()
