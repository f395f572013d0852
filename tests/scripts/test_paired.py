"""Paired differences against SciPy's own interval, and what cannot be paired."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from tests.helpers.paths import ROOT

SCRIPT = ROOT / "scripts" / "paired.py"


def table(path: Path, repeats: int = 1) -> Path:
    rows = [
        {
            "dataset": "digits",
            "model": "lenet",
            "method": "gkt",
            "access": "none",
            "status": "complete",
            "forget": forget,
            "seed": seed,
            "D_r": 90 + seed + 2 * forget - (0 if entropy is None else seed**2 * (1 + forget)),
            "D_f": 0.0,
            "AIN": 1.0,
            "filter.entropy": entropy,
        }
        for forget in (0, 1)
        for seed in range(4)
        for entropy in (0.5, None)
    ]
    pd.DataFrame(rows * repeats).to_csv(path, index=False)
    return path


def paired(path: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, str(SCRIPT), str(path), "filter.entropy", "null"]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_differences_are_paired_and_averaged_over_classes_of_a_seed(tmp_path: Path) -> None:
    done = paired(table(tmp_path / "runs.csv"))
    assert done.returncode == 0, done.stderr
    per_seed = np.array([-1.5 * seed**2 for seed in range(4)])
    low, high = stats.t.interval(0.95, 3, per_seed.mean(), stats.sem(per_seed))
    line = next(line for line in done.stdout.splitlines() if line.startswith("0.5"))
    assert f"{per_seed.mean():.2f} ± {(high - low) / 2:.2f}" in line
    assert line.split()[-2:] == ["8", "0"]


def test_runs_that_differ_in_something_else_are_refused(tmp_path: Path) -> None:
    done = paired(table(tmp_path / "runs.csv", repeats=2))
    assert done.returncode != 0
    assert "differ in more than" in done.stderr
