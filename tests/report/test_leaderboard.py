"""The leaderboard: who stands where, by what, and what is said of entries that fall short."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.helpers.synthetic import put, report
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
    for seed in range(seeds):
        for number in forget:
            run = put(
                outputs,
                seed=seed,
                forget=[number],
                config={"method.name": method},
                access=access,
                **changes,
            )
            reach(run, retain=RETRAINED + gap)


def reach(run: Path, **values: float) -> None:
    """Give a run's student these test accuracies, and its retrained reference its own."""
    path = run / "record.json"
    record = json.loads(path.read_text())
    record["accuracy"]["retrained"]["test"] = {"retain": RETRAINED, "forget": 0.0}
    record["accuracy"]["unlearned"]["test"] = {"retain": RETRAINED, "forget": 0.0, **values}
    path.write_text(json.dumps(record))


def order(table: pd.DataFrame) -> list[tuple[str, str, str]]:
    """(access, rank, method) from top to bottom."""
    return [tuple(index[2:]) for index in table.index]


def probe(excess: float, floor: float) -> Mapping[str, Any]:
    return {"excess": excess, "floor": {"excess": floor}}


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
    assert (
        "where some runs have none, by the share of audits that do"
        in describe_ranking(load([tmp_path]))[0]
    )


def test_equal_ones_share_a_rank_and_the_unknown_stand_last(tmp_path: Path) -> None:
    enter(tmp_path, "a", audits_inside=0.5, gap=0.2)
    enter(tmp_path, "b", audits_inside=0.5, gap=-0.2)
    enter(tmp_path, "c", audits_inside=0.1)
    enter(tmp_path, "d", status="failed", error="RunError: lost", audits_inside=None)
    table = leaderboard(load([tmp_path]))
    assert order(table) == [
        ("none", "1", "a"),
        ("none", "1", "b"),
        ("none", "3", "c"),
        ("none", "-", "d"),
    ]
    lost = table.iloc[3]
    assert (lost["runs"], lost["failed"], lost["D_f"], lost["worst D_f"]) == ("0", "2", "-", "-")


def audit(inside: bool, original: float) -> dict[str, Any]:
    """A number that tells the original from three retrained networks if it is not in 0 to 1."""
    values = {"original": original, "masked": 0.5, "unlearned": 0.5 if inside else 7.0}
    spread = {"low": 0.0, "high": 1.0, "inside": inside, "left_out": [True] * 3}
    return {**values, "retrained": 0.5, "references": [0.4, 0.6], **spread}


def test_what_cannot_tell_networks_apart_does_not_count(tmp_path: Path) -> None:
    """One passes what tells, the other passes two that pass everyone."""
    for method, tells, blind in (("erases", True, False), ("hides", False, True)):
        found = {
            "probe/last": audit(tells, 5.0),
            "cka/first": audit(blind, 0.5),
            "cka/last": audit(blind, 0.5),
            "recovery/head": audit(blind, 0.5),
        }
        enter(tmp_path / "runs", method, audits=found, audits_inside=0.75 if blind else 0.25)
    lines = tmp_path / "runs.csv"
    words = ["--format", "csv"]
    first = report("leaderboard", tmp_path / "runs", *words, "--runs-csv", str(lines))
    rows = [line.split(",") for line in first.stdout.splitlines()]
    at = [rows[0].index(name) for name in ("rank", "method", "inside %", "all audits %")]
    assert [[row[i] for i in at] for row in rows[1:]] == [
        ["1", "erases", "100.0 ± 0.0", "25.0 ± 0.0"],
        ["2", "hides", "0.0 ± 0.0", "75.0 ± 0.0"],
    ]
    assert report("leaderboard", lines, *words).stdout == first.stdout, "from lines alone"
    assert "Mixed" not in report("leaderboard", tmp_path / "runs").stdout


def test_records_and_the_lines_of_others_stand_on_one_board(tmp_path: Path) -> None:
    """As when a new entry's runs are set beside a board that was published as CSV."""
    words = ["--format", "csv"]
    for method, tells in (("erases", True), ("hides", False)):
        found = {"probe/last": audit(tells, 5.0), "cka/first": audit(True, 0.5)}
        enter(tmp_path / method, method, audits=found, audits_inside=0.5)
    together = report("leaderboard", tmp_path / "erases", tmp_path / "hides", *words)
    lines = tmp_path / "hides.csv"
    report("leaderboard", tmp_path / "hides", *words, "--runs-csv", str(lines))
    assert "100.0 ± 0.0" in together.stdout
    assert report("leaderboard", tmp_path / "erases", lines, *words).stdout == together.stdout


def test_without_audits_figures_are_held_against_the_spread_of_the_retrained(
    tmp_path: Path,
) -> None:
    """Floors differ by seed: the largest of a class counts; 12 is where retrained ones relearn."""
    for seed, floor in enumerate((2.0, 6.0)):
        for method, excess, steps in (("hidden", 13.0, 12.0), ("gone", 5.0, 12.0)):
            put(
                tmp_path,
                seed=seed,
                config={"method.name": method},
                probe=probe(excess, floor),
                membership={"gap": None, "floor": None},
                divergence={"forget": None, "floor": {"forget": None}},
                relearn={"unlearned_steps": steps, "retrained_steps": 12.0, "ain": 1.0},
            )
    table = leaderboard(load([tmp_path]))
    assert order(table) == [("none", "1", "gone"), ("none", "2", "hidden")]
    assert list(table["inside %"]) == ["100.0 ± 0.0", "50.0 ± 0.0"]
    assert table["probe excess"].iloc[1] == format_mean(pd.Series([11.0, 7.0]))
    assert "on a board where some runs have none" in describe_ranking(load([tmp_path]))[0]


def test_intervals_are_over_seeds_of_means_over_classes(tmp_path: Path) -> None:
    for seed in range(3):
        for number in (0, 7):
            run = put(tmp_path, seed=seed, forget=[number])
            reach(run, forget=seed + 4.0 * (number == 7))
    table = leaderboard(load([tmp_path]))
    assert table["D_f"].iloc[0] == format_mean(pd.Series([2.0, 3.0, 4.0]))
    assert table["worst D_f"].iloc[0] == "5.00 (7)"
    assert table["runs"].iloc[0] == "6"


def test_cost_and_alarms_are_shown(tmp_path: Path) -> None:
    enter(
        tmp_path,
        "delete",
        access="forget",
        seconds={"unlearn": 3.0, "retrained": 6.0},
        ledger={"images": 140, "labels": 140},
        peak_memory={"resident": 900.0, "added": 31.6, "cuda": None},
        alarms=["collapse: D_r is 20.00, the retrained model's 97.00", "empty gate: nothing"],
    )
    row = leaderboard(load([tmp_path])).iloc[0]
    assert row["× retraining"] == format_mean(pd.Series([0.5, 0.5]))
    assert (row["real images"], row["added MiB"]) == ("140", "32")
    assert "GPU MiB" not in row, "no run had a GPU"
    assert row["alarms"] == "collapse 2, empty gate 2"


def test_entries_that_fall_short_are_named(tmp_path: Path) -> None:
    enter(tmp_path, "whole", seeds=5, forget=(0, 2))
    enter(tmp_path, "part", seeds=5, forget=(0,))
    enter(tmp_path, "few", seeds=4, forget=(0, 2))
    said = describe_ranking(load([tmp_path]))
    assert "Fewer than the 5 seeds of an entry: few (digits, lenet)." in said
    assert "Lack classes or seeds that others have: few (digits, lenet), part (digits, lenet)." in (
        said
    )


def test_a_run_that_test_data_chose_competes_with_the_oracles(tmp_path: Path) -> None:
    enter(tmp_path, "gkt", oracle=True)
    enter(tmp_path, "gkt", gap=-1.0)
    assert order(leaderboard(load([tmp_path]))) == [("none", "1", "gkt"), ("oracle", "1", "gkt†")]


@pytest.mark.parametrize("form", ["terminal", "markdown", "csv", "latex"])
def test_the_formats_and_a_table_of_lines_say_the_same(tmp_path: Path, form: str) -> None:
    enter(tmp_path / "runs", "gkt", alarms=["collapse: far"])
    enter(tmp_path / "runs", "delete", access="forget")
    lines = tmp_path / "runs.csv"
    words = ["--format", form]
    first = report("leaderboard", tmp_path / "runs", *words, "--runs-csv", str(lines))
    assert first.returncode == 0, first.stderr
    assert "gkt" in first.stdout
    assert "collapse 2" in first.stdout
    again = report("leaderboard", lines, *words)
    assert again.stdout == first.stdout


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
    text = page.read_text()
    assert "Ranked among methods of the same access" in text
    assert '<button type="button">rank</button>' in text


def test_the_board_takes_the_place_of_figures(tmp_path: Path) -> None:
    enter(tmp_path, "gkt")
    done = report("page", tmp_path, "--output", "p.html", "--leaderboard", "--figures", "D_f")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "not allowed with argument" in line
