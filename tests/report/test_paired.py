"""Paired differences against SciPy's own interval, and what cannot be paired."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from tests.helpers.synthetic import report, rows

KEY = "filter.entropy"


def lines(path: Path, repeats: int = 1) -> Path:
    """Runs of two classes and four seeds, with a threshold and without."""
    found = [
        {
            **{"dataset": "digits", "model": "lenet", "method": "gkt", "access": "none"},
            **{"status": "complete", "forget": forget, "seed": seed, "D_f": 0.0, KEY: entropy},
            "D_r": 90 + seed + 2 * forget - (0 if entropy is None else seed**2 * (1 + forget)),
        }
        for forget in (0, 1)
        for seed in range(4)
        for entropy in (0.5, None)
    ]
    pd.DataFrame(found * repeats).to_csv(path, index=False)
    return path


def test_differences_are_averaged_over_the_classes_of_a_seed(tmp_path: Path) -> None:
    (row,) = rows("paired", lines(tmp_path / "runs.csv"), "--key", f"{KEY}=null")
    per_seed = np.array([-1.5 * seed**2 for seed in range(4)])
    low, high = stats.t.interval(0.95, 3, per_seed.mean(), stats.sem(per_seed))
    assert row == {
        **{"key": KEY, "level": "0.5", "against": "null", "pairs": "8"},
        "D_r": f"{per_seed.mean():.2f} ± {(high - low) / 2:.2f}",
        **{"D_f": "0.00 ± 0.00", "AIN": "-", "D_r higher in": "0"},
    }


def test_runs_that_differ_in_something_else_are_refused(tmp_path: Path) -> None:
    done = report("paired", lines(tmp_path / "runs.csv", repeats=2), "--key", f"{KEY}=null")
    assert done.returncode == 2
    assert "differ in more than dataset, model, method, forget, seed" in done.stderr
