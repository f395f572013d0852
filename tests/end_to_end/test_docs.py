"""Every command in docs/ does what its page says; slurm.md is played on a SLURM, in tests/slurm."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.helpers.pages import DOCS, play


def test_no_page_is_left_out() -> None:
    names = {"sweep.md", "add_a_method.md", "submit_a_method.md", "report.md", "slurm.md"}
    assert {path.name for path in DOCS.glob("*.md")} == names


@pytest.mark.slow
def test_launch_a_sweep(tmp_path: Path) -> None:
    done = play("sweep.md", tmp_path)
    plans = [run.stderr for text, run in done if "launch=plan" in text]
    assert "4 runs: 4 new" in plans[0]
    assert "150 runs: 150 new" in plans[1]
    again = next(run for text, run in done if "seed=0,1" in text)
    assert "8 runs: 4 done, 4 new" in again.stderr
    assert any("best proxy.score" in run.stderr for _, run in done)


@pytest.mark.slow
def test_add_a_method(tmp_path: Path) -> None:
    (_, method), (_, parts) = play("add_a_method.md", tmp_path)
    assert "mask" in method.stdout
    sureness = ast.literal_eval(parts.stdout.splitlines()[-1])
    assert 25 < sureness["forget"] <= 100


@pytest.mark.slow
def test_submit_a_method(tmp_path: Path) -> None:
    done = play("submit_a_method.md", tmp_path)
    board = done[1][1].stdout
    table = [line.split(" | ") for line in board.splitlines() if line.startswith("| ")]
    ranked = [(row[2], row[4]) for row in table[2:]]
    assert ranked[0] == ("retain", "retrain")
    assert ranked[-1] == ("none", "original")
    assert set(ranked[1:-1]) == {("forget", "delete"), ("forget", "my_ascent")}
    assert len((tmp_path / "my_runs.csv").read_text().splitlines()) == 5


@pytest.mark.slow
def test_read_the_report(tmp_path: Path) -> None:
    done = play("report.md", tmp_path)
    assert "Failed: 1 of 7 runs" in done[1][1].stdout
    assert (tmp_path / "report.html").stat().st_size > 50_000
    assert len((tmp_path / "runs.csv").read_text().splitlines()) == 8
