"""The report: intervals against SciPy, cells against pandas, and what a reader must be told."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.helpers.synthetic import put, report
from unlearn.errors import ConfigError
from unlearn.report.formats import csv as csv_format
from unlearn.report.formats import latex, markdown, terminal
from unlearn.report.pivot import format_mean, pivot
from unlearn.report.runs import load, mixed, only


def test_the_interval_is_students() -> None:
    values = pd.Series([97.0, 98.5, 96.2, 99.1, 97.7])
    low, high = stats.t.interval(0.95, 4, loc=values.mean(), scale=stats.sem(values))
    assert format_mean(values) == f"{values.mean():.2f} ± {(high - low) / 2:.2f}"
    assert format_mean(pd.Series([1.0, np.nan, 2.0])).endswith("(2 of 3)")
    assert format_mean(pd.Series([4.0])) == "4.00"
    assert format_mean(pd.Series([np.nan, np.nan])) == "-"


def test_any_config_key_makes_rows_or_columns(tmp_path: Path) -> None:
    expected = {}
    random = np.random.default_rng(0)
    for gate in (None, 0.01, 0.5):
        for start in (0.0, 0.95):
            values = random.uniform(80, 99, 3)
            expected[gate, start] = format_mean(pd.Series(values))
            for seed, value in enumerate(values):
                changes = {"filter.gate": gate, "method.start": start}
                put(tmp_path, seed=seed, D_r=float(value), config=changes)
    table = pivot(load([tmp_path]), ["filter.gate"], ["method.start"], ["D_r"])
    assert [index[0] for index in table.index] == ["null", "0.01", "0.5"]
    for (gate, start), cell in expected.items():
        row = ("null" if gate is None else f"{gate:g}",)
        block = f"method.start={start:g}"
        assert table.loc[row, (block, "D_r")] == cell
        assert table.loc[row, (block, "runs")] == "3"


def test_numbers_are_sorted_as_numbers(tmp_path: Path) -> None:
    for forget in ([10], [9], [1, 2], [2]):
        put(tmp_path, forget=forget)
    table = pivot(load([tmp_path]), ["forget"], [], ["D_r"])
    assert [index[0] for index in table.index] == ["1,2", "2", "9", "10"]


def test_every_format_says_the_same(tmp_path: Path) -> None:
    for seed, value in enumerate((95.0, 96.0, 97.0)):
        put(tmp_path, seed=seed, D_r=value)
    table = pivot(load([tmp_path]), ["method"], [], ["D_r", "AIN"])
    cells = ["gkt", "3", "96.00 ± 2.48", "0.50 ± 0.00"]
    assert list(csv.reader(io.StringIO(csv_format.write(table, ""))))[1] == cells
    row = markdown.write(table, "").splitlines()[2]
    assert [c.strip() for c in row.strip("|").split("|")] == cells
    tabular = latex.write(table, "")
    assert "\\toprule" in tabular
    assert "gkt & 3 & 96.00 $\\pm$ 2.48 & 0.50 $\\pm$ 0.00 \\\\" in tabular
    assert all(cell in terminal.write(table, "") for cell in cells)


def test_failed_runs_are_counted_and_told_how_to_repeat(tmp_path: Path) -> None:
    put(tmp_path, seed=0)
    put(tmp_path, seed=1, status="failed", error="RunError: the loss is not finite")
    put(tmp_path, seed=2, forget=[1, 2], status="failed", error="OSError: disk")
    hidden = put(tmp_path, seed=3)
    hidden.rename(tmp_path / ".run.partial")
    done = report(tmp_path, "--rows", "method", "--format", "markdown")
    assert done.returncode == 0, done.stderr
    heading, _, row = done.stdout.splitlines()[:3]
    found = dict(zip(heading.split("|"), row.split("|"), strict=True))
    assert found[" runs "].strip() == "1"
    assert found[" failed "].strip() == "2"
    assert "Failed: 2 of 3 runs" in done.stdout
    assert "unlearn method=gkt 'forget=[0]' seed=1\n    RunError: the loss" in done.stdout
    assert "unlearn method=gkt 'forget=[1, 2]' seed=2\n    OSError: disk" in done.stdout


def test_a_run_that_is_given_twice_counts_once(tmp_path: Path) -> None:
    place = put(tmp_path / "some", seed=0)
    put(tmp_path / "other", seed=1)
    twice = [tmp_path, place, tmp_path / "some" / ".." / "some"]
    assert len(load(twice)) == len(load([tmp_path])) == 2


def test_names_of_forget_classes_make_rows_where_they_are_known(tmp_path: Path) -> None:
    put(tmp_path, forget=[3, 5], forget_names=["cat", "dog"])
    put(tmp_path, forget=[2])  # a record of before there were names
    runs = load([tmp_path])
    assert list(only(runs, ["forget_names=cat,dog"])["forget"]) == ["3,5"]
    assert list(only(runs, ["forget_names=2"])["forget"]) == ["2"]


def test_tables_show_names_beside_indices(tmp_path: Path) -> None:
    put(tmp_path, forget=[3], forget_names=["cat"])
    put(tmp_path, forget=[3])
    put(tmp_path, forget=[2], forget_names=["2"])
    put(tmp_path, forget=[10], forget_names=["ship"], dataset="a")
    put(tmp_path, forget=[10], forget_names=["boot"], dataset="a")
    table = pivot(load([tmp_path]), ["dataset", "forget"], [], ["D_r"])
    expected = [("a", "10 (boot)"), ("a", "10 (ship)"), ("digits", "2"), ("digits", "3 (cat)")]
    assert list(table.index) == expected
    assert list(table["runs"]) == ["1", "1", "1", "2"]


def test_cells_that_mix_settings_say_so(tmp_path: Path) -> None:
    for start in (0.5, 0.95):
        for seed in (0, 1):
            put(tmp_path, seed=seed, config={"method.start": start, "tracking.mode": f"{seed}"})
    runs = load([tmp_path])
    assert mixed(runs, ["method"]) == ["method.start"]
    assert mixed(runs, ["method", "method.start"]) == []
    assert mixed(only(runs, ["method.start=0.5"]), ["method"]) == []
    assert "differ in method.start;" in report(tmp_path, "--rows", "method").stdout
    chosen = report(tmp_path, "--rows", "method", "--where", "method.start=0.95").stdout
    assert "Mixed" not in chosen


def test_oracle_runs_are_marked(tmp_path: Path) -> None:
    put(tmp_path, forget=[0])
    put(tmp_path, forget=[1], oracle=True)  # chosen by a search over test accuracies
    shown = report(tmp_path, "--rows", "method,forget").stdout
    assert "Oracle†: in 1 runs" in shown
    runs = load([tmp_path])
    table = pivot(runs, ["method", "forget"], [], ["D_r"])
    assert list(table.index) == [("gkt", "0"), ("gkt", "1†")]
    assert list(pivot(runs, ["oracle"], [], ["D_r"]).index) == [("false",), ("true†",)]
    assert "1$^\\dagger$" in latex.write(table, "")
    beside = pivot(runs, ["method"], ["forget"], ["D_r"])
    assert list(beside.index) == [("gkt†",)]
    assert list(beside.loc[:, (slice(None), "runs")].iloc[0]) == ["1", "1†"]


def test_runs_that_were_cut_off_are_told(tmp_path: Path) -> None:
    put(tmp_path, seed=0)
    cut = put(tmp_path, seed=1, status="unfinished", access=None)
    cut.rename(tmp_path / ".seed-1.partial")
    replaced = put(tmp_path, seed=2)
    replaced.rename(tmp_path / ".seed-2.old")
    done = report(tmp_path, "--rows", "method", "--format", "markdown")
    assert done.returncode == 0, done.stderr
    heading, _, row = done.stdout.splitlines()[:3]
    found = dict(zip(heading.split("|"), row.split("|"), strict=True))
    assert (found[" runs "].strip(), found[" unfinished "].strip()) == ("1", "1")
    assert "Unfinished: 1 of 2 runs" in done.stdout
    assert "  unlearn method=gkt 'forget=[0]' seed=1\n" in done.stdout
    assert "seed=2" not in done.stdout
    assert "Failed" not in done.stdout


def test_lines_of_runs_go_to_a_file(tmp_path: Path) -> None:
    put(tmp_path / "outputs", seed=4, D_r=91.0, config={"method.start": 0.25})
    target = tmp_path / "runs.csv"
    done = report(tmp_path / "outputs", "--rows", "method.start", "--runs-csv", str(target))
    assert done.returncode == 0, done.stderr
    (line,) = csv.DictReader(target.open())
    assert (line["seed"], line["D_r"], line["method.start"]) == ("4", "91.0", "0.25")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rows", "method.strat"], "rows=method.strat: no record has it; near it are method.st"),
        (["--columns", "seeed"], "columns=seeed: "),
        (["--rows", "D_r"], "rows=D_r: is a figure, not a key"),
        (["--figures", "D_q"], "figures=D_q: allowed are original D_r, "),
        (["--where", "method"], "where=method: must be KEY=VALUE"),
        (["--where", "method=noise"], "where=method=noise: no run is left"),
        (["--rows", ""], "rows=: must name a key"),
        (["--output", "absent/report.md"], "output=absent/report.md: cannot be written (No such"),
        (["--format", "html"], "format=html: allowed are csv, latex, markdown, terminal"),
        (["--curve", "filter.gate"], "unrecognized arguments: --curve"),
    ],
)
def test_bad_input(tmp_path: Path, arguments: list[str], message: str) -> None:
    put(tmp_path, seed=0)
    put(tmp_path, seed=1)
    done = report(tmp_path, *arguments)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith(f"unlearn-report: {message}")


def test_it_runs_as_a_program(tmp_path: Path) -> None:
    put(tmp_path)
    for words, code in (([], 0), (["--rows", "metod"], 2)):
        call = [sys.executable, "-m", "unlearn.report", str(tmp_path), *words]
        done = subprocess.run(call, capture_output=True, text=True, check=False)
        assert done.returncode == code
        assert ("97.00" in done.stdout) == (code == 0)


@pytest.mark.parametrize(
    "text", ["", '{"a":', "[1]", "null", '{"config": "x"}', '{"relearn": [1]}']
)
def test_a_damaged_record_is_named_and_left_out(tmp_path: Path, text: str) -> None:
    for seed in (0, 1):
        put(tmp_path, seed=seed)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "record.json").write_text(text)
    done = report(tmp_path, "--figures", "D_r", "--format", "markdown")
    assert done.returncode == 0
    assert "| 2 |" in done.stdout
    (line,) = done.stderr.splitlines()
    assert str(tmp_path / "bad" / "record.json") in line


def test_a_folder_without_records(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no record\.json"):
        load([tmp_path])


def test_last_proxy_and_oracle_stand_side_by_side(tmp_path: Path) -> None:
    for seed, (picked, best, rho) in enumerate([(90.0, 96.0, 0.5), (94.0, 98.0, 0.9)]):
        selection = {
            "proxy": {"step": 4, "retain": picked, "forget": 0.0},
            "oracle": {"step": 6, "retain": best, "forget": 1.0},
            "spearman": {"retain": rho, "forget": None, "score": -rho},
        }
        put(tmp_path, seed=seed, D_r=97.0, selection=selection)
    names = ["D_r", "D_r proxy", "D_r oracle", "D_f oracle", "rho", "rho D_r", "rho D_f"]
    done = report(tmp_path, "--rows", "method", "--figures", ",".join(names), "--format", "csv")
    (line,) = csv.DictReader(io.StringIO(done.stdout))
    assert line["D_r"].startswith("97.00")
    assert line["D_r proxy"] == format_mean(pd.Series([90.0, 94.0]))
    assert line["D_r oracle"] == format_mean(pd.Series([96.0, 98.0]))
    assert line["D_f oracle"].startswith("1.00")
    assert line["rho"] == format_mean(pd.Series([-0.5, -0.9]))
    assert line["rho D_r"] == format_mean(pd.Series([0.5, 0.9]))
    assert line["rho D_f"] == "-"


def test_a_run_that_ends_meanwhile_does_not_stop_the_report(tmp_path: Path) -> None:
    """Its folder is renamed between the listing and the reading: what was listed is not there."""
    put(tmp_path)
    gone = tmp_path / "digits-lenet" / ".seed-9.partial"
    gone.mkdir(parents=True)
    (gone / "record.json").symlink_to(tmp_path / "renamed" / "record.json")
    done = report(tmp_path)
    assert done.returncode == 0, done.stderr
