"""The commands of the README and of docs/ run; guide/slurm.md is played in tests/slurm."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.command_line import record_in
from tests.helpers.pages import DOCS, play, write_files

PLAYED = {
    "concepts/measures.md",
    "guide/checkpoint.md",
    "guide/data.md",
    "guide/evidence.md",
    "guide/leaderboard.md",
    "guide/paper.md",
    "guide/report.md",
    "guide/slurm.md",
    "guide/sweep.md",
    "quickstart.md",
}


def test_every_page_with_a_command_is_played() -> None:
    written = [path for path in DOCS.rglob("*.md") if "\n```bash\n" in path.read_text()]
    pages = {path.relative_to(DOCS).as_posix() for path in written}
    assert {page for page in pages if not page.startswith("extending/")} == PLAYED


@pytest.mark.slow
def test_the_readme(tmp_path: Path) -> None:
    write_files("guide/checkpoint.md", tmp_path)
    subprocess.run([sys.executable, "train.py"], cwd=tmp_path, check=True)
    done = play("../README.md", tmp_path)
    assert (tmp_path / "deleted" / "student.pt").exists()
    plans = [run.stderr for text, run in done if "launch=plan" in text]
    assert "6 runs: 6 new" in plans[0]
    assert "150 runs: 150 new" in plans[1]
    assert (tmp_path / "report.html").stat().st_size > 50_000


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [
        "quickstart.md",
        "concepts/measures.md",
        "guide/data.md",
        "guide/evidence.md",
        "guide/paper.md",
    ],
)
def test_short_pages_run(page: str, tmp_path: Path) -> None:
    play(page, tmp_path)


@pytest.mark.slow
def test_unlearn_my_checkpoint(tmp_path: Path) -> None:
    done = play("guide/checkpoint.md", tmp_path)
    checked = next(run.stdout for text, run in done if "check.py" in text).splitlines()
    retain, forget, retain_after, forget_after = (float(line.split()[-1][:-1]) for line in checked)
    assert forget > 90
    assert forget_after < 1
    assert abs(retain_after - retain) < 5
    assert record_in(tmp_path / "compared")["accuracy"]["retrained"]["test"]["forget"] == 0


@pytest.mark.slow
def test_launch_a_sweep(tmp_path: Path) -> None:
    done = play("guide/sweep.md", tmp_path)
    plans = [run.stderr for text, run in done if "launch=plan" in text]
    assert "4 runs: 4 new" in plans[0]
    assert "150 runs: 150 new" in plans[1]
    again = next(run for text, run in done if "seed=0,1" in text)
    assert "8 runs: 4 done, 4 new" in again.stderr
    assert any("best proxy.score" in run.stderr for _, run in done)


@pytest.mark.slow
def test_submit_to_the_leaderboard(tmp_path: Path) -> None:
    done = play("guide/leaderboard.md", tmp_path)
    board = done[1][1].stdout
    table = [line.split(" | ") for line in board.splitlines() if line.startswith("| ")]
    ranked = [(row[2], row[4]) for row in table[2:]]
    assert ranked[0] == ("retain", "retrain")
    assert ranked[-1] == ("none", "original")
    assert set(ranked[1:-1]) == {("forget", "delete"), ("forget", "my_ascent")}
    assert len((tmp_path / "my_runs.csv").read_text().splitlines()) == 5


@pytest.mark.slow
def test_report_results(tmp_path: Path) -> None:
    done = play("guide/report.md", tmp_path)
    assert "Failed: 1 of 7 runs" in done[1][1].stdout
    assert (tmp_path / "report.html").stat().st_size > 50_000
    assert len((tmp_path / "runs.csv").read_text().splitlines()) == 8
