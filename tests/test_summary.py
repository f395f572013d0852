"""The summary of many runs: intervals against SciPy, failed runs counted, partial ones unseen."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from unlearn.report.summary import collect, interval, markdown

SPLITS = {"train": {"retain": 99.0, "forget": 98.0}, "test": {"retain": 97.0, "forget": 96.0}}
RECORD: dict[str, Any] = {
    "status": "complete",
    "dataset": "digits",
    "model": "lenet",
    "method": "gkt",
    "forget": [1, 2],
    "seed": 0,
    "accuracy": {"original": SPLITS, "retrained": SPLITS, "unlearned": SPLITS},
    "relearn": {"unlearned_steps": 6.0, "retrained_steps": 12.0, "ain": 0.5},
    "membership": {"unlearned": {"auc": 0.5}, "retrained": {"auc": 0.6}},
    "onset": {"largest": 0.0},
    "seconds": {"unlearn": 3.0},
}


def put(folder: Path, **changes: Any) -> None:
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(json.dumps({**copy.deepcopy(RECORD), **changes}))


def test_the_interval_is_students() -> None:
    values = pd.Series([97.0, 98.5, 96.2, 99.1, 97.7])
    low, high = stats.t.interval(0.95, 4, loc=values.mean(), scale=stats.sem(values))
    assert interval(values) == f"{values.mean():.2f} ± {(high - low) / 2:.2f}"
    assert interval(pd.Series([1.0, np.nan, 2.0])).endswith("(2 of 3)")
    assert interval(pd.Series([4.0])) == "4.00"
    assert interval(pd.Series([np.nan, np.nan])) == "-"


def test_records_are_collected_and_grouped(tmp_path: Path) -> None:
    put(tmp_path / "a" / "seed-0", seed=0)
    put(tmp_path / "a" / "seed-1", seed=1)
    put(tmp_path / "b" / "seed-0", method="noise", status="failed")
    put(tmp_path / "b" / ".seed-1.partial", method="noise")
    runs = collect(tmp_path)
    assert len(runs) == 3
    assert set(runs["forget"]) == {"1,2"}

    heading, _, gkt, noise = markdown(runs, ["method", "forget"]).splitlines()
    names = [cell.strip() for cell in heading.strip("|").split("|")]
    cells = dict(zip(names, (c.strip() for c in gkt.strip("|").split("|")), strict=True))
    assert cells["runs"] == "2"
    assert cells["failed"] == "0"
    assert cells["D_r"] == "97.00 ± 0.00"
    assert cells["AIN"] == "0.50 ± 0.00"
    failed = dict(zip(names, (c.strip() for c in noise.strip("|").split("|")), strict=True))
    assert failed["runs"] == "0"
    assert failed["failed"] == "1"
    assert failed["D_r"] == "-"
