"""The script for a GPU: every step at its smallest size, here on whatever device there is."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.gpu import Step, list_steps, run_step
from tests.helpers.paths import ROOT


@pytest.mark.slow
def test_every_step_runs_at_its_smallest_size(tmp_path: Path) -> None:
    command = [sys.executable, "scripts/gpu.py", "--tiny", "--out", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=500)
    rows = list(csv.DictReader((tmp_path / "gpu.csv").open()))
    figures = {(row["part"], row["step"], row["figure"]): row["value"] for row in rows}
    assert "error" not in {row["figure"] for row in rows}
    assert {(s.part, s.name) for s in list_steps(None, tmp_path, True)} == {
        (part, step) for part, step, _ in figures
    }
    assert float(figures["speed", "gkt, ResNet-20", "published / ours"]) > 0
    assert float(figures["methods", "masked_logit", "unlearned D_f"]) == 0
    assert int(figures["tests", "marked gpu", "failures"]) == 0
    assert int(figures["tests", "marked gpu", "tests"]) > 0


def test_a_step_that_fails_or_takes_too_long_is_a_row(tmp_path: Path) -> None:
    def run(code: str) -> dict[str, object]:
        (row,) = run_step(Step("speed", "x", [sys.executable, "-c", code], "none"), tmp_path, 1.5)
        return row

    assert run("raise SystemExit('the reason')")["value"] == "the reason"
    assert run("import time; time.sleep(60)")["figure"] == "error"
