"""Figures by short name, by the name that a metric declares, and by dotted path."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.helpers.synthetic import put, report, rows
from unlearn.report.figures import FIGURES, unit_of
from unlearn.report.pivot import format_mean
from unlearn.report.runs import load

DECLARED = {
    "mine.value": {"name": "sharpness", "unit": "points"},
    "audits.relearn/0.001/area.unlearned": {"name": "area", "unit": ""},
}


def metric(outputs: Path, value: float, **more: Any) -> Path:
    """A run of a metric and an audit that declare names of their figures."""
    audits = {"relearn/0.001/area": {"unlearned": value / 10, "inside": None}}
    probe = {"unlearned": [50.0, value], "excess": value / 2, "by": {"layer1.0": value}}
    own = {"value": value, "parts": {"low": 1}, "word": "x"}
    return put(outputs, mine=own, audits=audits, probe=probe, figures=DECLARED, **more)


@pytest.mark.parametrize(
    ("figure", "factor"),
    [
        ("mine.value", 1),
        ("sharpness", 1),
        ("area", 0.1),
        ("audits.relearn/0.001/area.unlearned", 0.1),
        ("probe.unlearned.-1", 1),
        ("probe score", 1),
        ("probe.excess", 0.5),
        ("probe.by.layer1.0", 1),
    ],
)
def test_a_figure_is_read_from_records_and_from_their_lines(
    tmp_path: Path, figure: str, factor: float
) -> None:
    values = [3.0, 5.5, 4.0]
    for seed, value in enumerate(values):
        metric(tmp_path / "runs", value, seed=seed)
    lines, words = tmp_path / "runs.csv", ["--rows", "method", "--figures", f"D_r,{figure}"]
    expected = [{"method": "gkt", "runs": "3", "D_r": "97.00 ± 0.00"}]
    expected[0][figure] = format_mean(factor * pd.Series(values))
    assert rows(tmp_path / "runs", *words, "--runs-csv", lines) == expected
    assert rows(lines, *words) == expected


def test_declared_figures_are_columns_of_every_csv_file_of_runs(tmp_path: Path) -> None:
    metric(tmp_path / "runs", 4.0)
    put(tmp_path / "runs", seed=1)
    lines = tmp_path / "runs.csv"
    report(tmp_path / "runs", "--runs-csv", lines)
    first, second = csv.DictReader(lines.open())
    assert first["mine.value [sharpness, points]"] == "4.0"
    assert second["mine.value [sharpness, points]"] == ""
    assert "Mixed" not in report(lines, "--rows", "method").stdout


def test_units_are_those_of_the_table_or_of_the_metric(tmp_path: Path) -> None:
    metric(tmp_path, 4.0)
    runs = load([tmp_path], ["mine.value", "accuracy.unlearned.test.retain", "mine.parts.low"])
    units = ["D_r", "sharpness", "mine.value", "accuracy.unlearned.test.retain", "mine.parts.low"]
    assert [unit_of(runs, figure) for figure in units] == ["%", "points", "points", "%", ""]


@pytest.mark.parametrize(
    ("figure", "near"),
    [
        ("mine.valeu", "mine.value"),
        ("mine", "mine.parts.low, mine.value"),
        ("mine.word", "mine.parts.low"),
        ("probe.unlearned.7", "probe.unlearned"),
        ("seconds.unlern", "seconds.unlearn"),
    ],
)
def test_an_unknown_figure_is_refused_with_those_near_it(
    tmp_path: Path, figure: str, near: str
) -> None:
    metric(tmp_path, 1.0)
    done = report(tmp_path, "--figures", figure)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"unlearn-report: figures={figure}: allowed are {', '.join(FIGURES)}")
    assert near in line.partition("near it are")[2]


def test_a_name_of_two_figures_is_refused(tmp_path: Path) -> None:
    both = {f"mine.{key}": {"name": "twice", "unit": ""} for key in ("one", "two")}
    put(tmp_path, mine={"one": 1, "two": 2}, figures=both)
    done = report(tmp_path, "--figures", "twice")
    assert "figures=twice: is the name of mine.one and mine.two" in done.stderr


def test_what_no_run_measured_is_a_dash(tmp_path: Path) -> None:
    put(tmp_path, mine={"value": None})
    (row,) = rows(tmp_path, "--rows", "method", "--figures", "mine.value")
    assert row["mine.value"] == "-"
