"""Runs that failed or differ, conditions on runs, and the published files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.paths import DOCS
from tests.helpers.synthetic import put, report, rows
from unlearn.errors import ConfigError
from unlearn.report.runs import load, mixed, only

PUBLISHED = sorted((DOCS / "results").glob("*.csv"))


def test_failed_and_unfinished_runs_are_counted_and_told_how_to_repeat(tmp_path: Path) -> None:
    put(tmp_path, seed=0)
    put(tmp_path, seed=1, status="failed", error="RunError: the loss is not finite")
    put(tmp_path, seed=2, forget=[1, 2], status="failed", error="OSError: disk")
    cut = put(tmp_path, seed=3, status="unfinished", access=None)
    cut.rename(tmp_path / ".seed-3.partial")
    for hidden in (".seed-4.partial", ".seed-5.old"):  # complete, but not yet or no longer named
        put(tmp_path, seed=int(hidden[6])).rename(tmp_path / hidden)
    (row,) = rows(tmp_path, "--rows", "method")
    assert (row["runs"], row["failed"], row["unfinished"]) == ("3", "2", "1")
    said = report(tmp_path, "--rows", "method").stdout.partition("\n\n")[2].splitlines()
    assert said[-7:] == [
        "Failed: 2 of 6 runs. To run them again:",
        "  unlearn method=gkt 'forget=[0]' seed=1",
        "    # RunError: the loss is not finite",
        "  unlearn method=gkt 'forget=[1, 2]' seed=2",
        "    # OSError: disk",
        "Unfinished: 1 of 6 runs were cut off or are still running. To resume:",
        "  unlearn method=gkt 'forget=[0]' seed=3",
    ]


def test_names_of_forget_classes_choose_runs_where_they_are_known(tmp_path: Path) -> None:
    put(tmp_path, forget=[3, 5], forget_names=["cat", "dog"])
    put(tmp_path, forget=[2])  # a record of before there were names
    runs = load([tmp_path])
    assert list(only(runs, ["forget_names=cat,dog"])["forget"]) == ["3,5"]
    assert list(only(runs, ["forget_names=2"])["forget"]) == ["2"]


def test_cells_that_mix_settings_say_so(tmp_path: Path) -> None:
    for start in (0.5, 0.95):
        for seed in (0, 1):
            put(tmp_path, seed=seed, config={"method.start": start, "tracking.mode": f"{seed}"})
    runs = load([tmp_path])
    assert mixed(runs, ["method"]) == ["method.start"]
    assert mixed(runs, ["method", "method.start"]) == []
    assert mixed(only(runs, ["method.start=0.5"]), ["method"]) == []
    assert "differ in method.start;" in report(tmp_path, "--rows", "method").stdout


def test_a_table_says_how_many_runs_raised_an_alarm(tmp_path: Path) -> None:
    put(tmp_path, alarms=["collapse: D_r is 10.00", "no change: D_f is 80.00"])
    put(tmp_path, alarms=["no change: D_f is 70.00"], seed=1)
    put(tmp_path, alarms=[], seed=2)
    shown = report(tmp_path).stdout
    assert "Alarms: in 2 runs (collapse in 1, no change in 2)." in shown
    assert "Alarms" not in report(tmp_path, "--where", "seed=2").stdout


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_published_files_are_read(path: Path) -> None:
    """Each line is a run with its D_r; the calibrations are no files of runs."""
    if path.stem.startswith("calibration_"):
        with pytest.raises(ConfigError, match="it has no dataset"):
            load([path])
    else:
        runs = load([path])
        assert len(runs) == len(path.read_text().splitlines()) - 1
        assert runs.loc[runs["status"] == "complete", "D_r"].between(0, 100).all()
