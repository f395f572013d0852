"""Tables: intervals against SciPy, cells against pandas, marks, and the formats."""

from __future__ import annotations

import csv
import io
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.helpers.synthetic import put, report, rows
from unlearn.report.pivot import format_mean, pivot
from unlearn.report.runs import load


def written(form: str, table: pd.DataFrame) -> str:
    text: str = import_module(f"unlearn.report.formats.{form}").write(table, "\nNotes.\n")
    return text


def test_the_interval_is_students() -> None:
    values = pd.Series([97.0, 98.5, 96.2, 99.1, 97.7])
    low, high = stats.t.interval(0.95, 4, loc=values.mean(), scale=stats.sem(values))
    assert format_mean(values) == f"{values.mean():.2f} ± {(high - low) / 2:.2f}"
    assert format_mean(pd.Series([1.0, np.nan, 2.0])).endswith("(2 of 3)")
    assert format_mean(pd.Series([4.0])) == "4.00"
    assert format_mean(pd.Series([np.nan, np.nan])) == "-"


def test_any_config_key_makes_rows_or_columns(tmp_path: Path) -> None:
    expected, random = {}, np.random.default_rng(0)
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
        row, block = "null" if gate is None else f"{gate:g}", f"method.start={start:g}"
        assert list(table.loc[(row,), block]) == ["3", cell]


def test_numbers_are_sorted_as_numbers(tmp_path: Path) -> None:
    for forget in ([10], [9], [1, 2], [2]):
        put(tmp_path, forget=forget)
    table = pivot(load([tmp_path]), ["forget"], [], ["D_r"])
    assert [index[0] for index in table.index] == ["1,2", "2", "9", "10"]


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


def test_every_format_has_the_same_cells(tmp_path: Path) -> None:
    for seed, value in enumerate((95.0, 96.0, 97.0)):
        put(tmp_path, seed=seed, D_r=value, config={"method.name": "a|b"})
    table = pivot(load([tmp_path]), ["method"], [], ["D_r", "AIN"])
    cells = ["a|b", "3", "96.00 ± 2.48", "0.50 ± 0.00"]
    lines = list(csv.reader(io.StringIO(written("csv", table))))
    assert lines == [["method", "runs", "D_r", "AIN"], cells]
    assert written("markdown", table).splitlines()[1:] == [
        "| --- | --- | --- | --- |",
        "| a\\|b | 3 | 96.00 ± 2.48 | 0.50 ± 0.00 |",
        "",
        "Notes.",
    ]
    latex = written("latex", table)
    assert "a|b & 3 & 96.00 $\\pm$ 2.48 & 0.50 $\\pm$ 0.00 \\\\" in latex
    assert "\\toprule" in latex
    terminal = written("terminal", table)
    assert [cell.strip() for cell in terminal.splitlines()[3].split("│")[1:-1]] == cells
    assert terminal.endswith("\nNotes.\n")


def test_oracle_runs_are_marked(tmp_path: Path) -> None:
    put(tmp_path, forget=[0])
    put(tmp_path, forget=[1], oracle=True)  # chosen by a search over test accuracies
    runs = load([tmp_path])
    table = pivot(runs, ["method", "forget"], [], ["D_r"])
    assert list(table.index) == [("gkt", "0"), ("gkt", "1†")]
    assert "1$^\\dagger$" in written("latex", table)
    assert list(pivot(runs, ["oracle"], [], ["D_r"]).index) == [("false",), ("true†",)]
    beside = pivot(runs, ["method"], ["forget"], ["D_r"])
    assert list(beside.index) == [("gkt†",)]
    assert list(beside.loc[:, (slice(None), "runs")].iloc[0]) == ["1", "1†"]
    assert "Oracle†: in 1 runs" in report(tmp_path).stdout


def test_lines_of_runs_go_to_a_file(tmp_path: Path) -> None:
    put(tmp_path / "outputs", seed=4, D_r=91.0, config={"method.start": 0.25})
    target = tmp_path / "runs.csv"
    rows(tmp_path / "outputs", "--rows", "method.start", "--runs-csv", target)
    (line,) = csv.DictReader(target.open())
    assert (line["seed"], line["D_r"], line["method.start"]) == ("4", "91.0", "0.25")


@pytest.mark.parametrize(
    ("figure", "path", "values"),
    [
        ("D_r proxy", "selection.proxy.retain", [90.0, 94.0]),
        ("D_f oracle", "selection.oracle.forget", [1.0, 0.0]),
        ("rho", "selection.spearman.score", [-0.5, -0.9]),
        ("rho D_f", "selection.spearman.forget", [None, None]),
    ],
)
def test_selected_students_have_figures_of_their_own(
    tmp_path: Path, figure: str, path: str, values: list[float | None]
) -> None:
    for seed, value in enumerate(values):
        put(tmp_path, seed=seed, at={path: value})
    (row,) = rows(tmp_path, "--rows", "method", "--figures", f"D_r,{figure}")
    assert row["D_r"] == "97.00 ± 0.00"
    assert row[figure] == format_mean(np.array(values, dtype=float))
