"""The report: intervals against SciPy, cells against pandas, and what a reader must be told."""

from __future__ import annotations

import copy
import csv
import io
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from unlearn.errors import ConfigError
from unlearn.report.pivot import interval, pivot
from unlearn.report.runs import load, mixed, only
from unlearn.report.write import FORMATS

MODELS = ("original", "retrained", "unlearned")
CONFIG: dict[str, Any] = {
    "seed": 0,
    "forget": [0],
    "dataset": {"name": "digits", "shape": [1, 8, 8]},
    "method": {"name": "gkt", "start": 0.95, "target": "masked"},
    "filter": {"gate": None, "entropy": None},
    "tracking": {"mode": "offline"},
}


def put(outputs: Path, **changes: Any) -> Path:
    """One run directory; keyword arguments are D_r, seed, forget, status, or a config key."""
    config = copy.deepcopy(CONFIG)
    for key, value in changes.pop("config", {}).items():
        group, name = key.split(".")
        config[group][name] = value
    seed, forget = changes.pop("seed", 0), changes.pop("forget", [0])
    config |= {"seed": seed, "forget": forget}
    parts = {"train": {"retain": 99.0, "forget": 0.0}}
    test = {"retain": changes.pop("D_r", 97.0), "forget": 0.0}
    record = {
        "status": "complete",
        "dataset": "digits",
        "model": "lenet",
        "method": config["method"]["name"],
        "access": "none",
        "forget": forget,
        "seed": seed,
        "command": ["method=gkt", f"forget={forget}", f"seed={seed}"],
        "config": config,
        "accuracy": {name: {**parts, "test": test} for name in MODELS},
        "relearn": {"unlearned_steps": 6.0, "retrained_steps": 12.0, "ain": 0.5},
        "membership": {"unlearned": {"auc": 0.5}, "retrained": {"auc": 0.6}},
        "divergence": {"retain": 0.1, "forget": 0.2},
        "onset": {"largest": 0.0},
        "seconds": {"unlearn": 3.0},
        "error": None,
        **changes,
    }
    directory = outputs / f"run-{len(list(outputs.glob('*')))}"
    directory.mkdir(parents=True)
    (directory / "record.json").write_text(json.dumps(record))
    return directory


def report(outputs: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "unlearn.report", str(outputs), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_interval_is_students() -> None:
    values = pd.Series([97.0, 98.5, 96.2, 99.1, 97.7])
    low, high = stats.t.interval(0.95, 4, loc=values.mean(), scale=stats.sem(values))
    assert interval(values) == f"{values.mean():.2f} ± {(high - low) / 2:.2f}"
    assert interval(pd.Series([1.0, np.nan, 2.0])).endswith("(2 of 3)")
    assert interval(pd.Series([4.0])) == "4.00"
    assert interval(pd.Series([np.nan, np.nan])) == "-"


def test_any_config_key_makes_rows_or_columns(tmp_path: Path) -> None:
    expected = {}
    random = np.random.default_rng(0)
    for gate in (None, 0.01, 0.5):
        for start in (0.0, 0.95):
            values = random.uniform(80, 99, 3)
            expected[gate, start] = interval(pd.Series(values))
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
    assert list(csv.reader(io.StringIO(FORMATS["csv"](table))))[1] == cells
    markdown = FORMATS["markdown"](table).splitlines()[2]
    assert [c.strip() for c in markdown.strip("|").split("|")] == cells
    latex = FORMATS["latex"](table)
    assert "\\toprule" in latex
    assert "gkt & 3 & 96.00 $\\pm$ 2.48 & 0.50 $\\pm$ 0.00 \\\\" in latex
    assert all(cell in FORMATS["terminal"](table) for cell in cells)


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
    put(tmp_path, access="oracle")
    assert "Oracle: 1 runs were steered by real test accuracies" in report(tmp_path).stdout


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
        (["--figures", "D_q"], "figures=D_q: allowed are original D_r, "),
        (["--where", "method"], "where=method: must be KEY=VALUE"),
        (["--where", "method=noise"], "where=method=noise: no run is left"),
    ],
)
def test_bad_input(tmp_path: Path, arguments: list[str], message: str) -> None:
    put(tmp_path)
    done = report(tmp_path, *arguments)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith(f"unlearn-report: {message}")


def test_a_folder_without_records(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no record\.json"):
        load([tmp_path])


def test_ten_thousand_records_take_seconds(tmp_path: Path) -> None:
    """2,000 settings of five seeds, in one table by three keys: 20 s and 1 GB are allowed."""
    template = json.loads((put(tmp_path / "one") / "record.json").read_text())
    for number in range(10_000):
        template["seed"] = template["config"]["seed"] = number % 5
        template["config"]["method"]["start"] = number // 5 % 20 / 20
        template["config"]["filter"]["gate"] = number // 100 % 10 / 100
        template["forget"] = template["config"]["forget"] = [number // 1000]
        folder = tmp_path / "many" / str(number % 100) / str(number)
        folder.mkdir(parents=True)
        (folder / "record.json").write_text(json.dumps(template))
    # The child's own peak: ru_maxrss would begin at what this process held when it forked.
    code = (
        "import atexit, pathlib, runpy, sys\n"
        "status = pathlib.Path('/proc/self/status')\n"
        "atexit.register(lambda: print(status.read_text(), file=sys.stderr))\n"
        "runpy.run_module('unlearn.report', run_name='__main__')\n"
    )
    keys = "forget,filter.gate,method.start"
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "many", "--rows", keys, "--format", "csv"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    spent = time.perf_counter() - start
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 2001
    assert lines[1].startswith("0,0,0,5,")
    assert spent < 20
    peak = re.search(r"VmHWM:\s+(\d+) kB", done.stderr)
    assert peak is not None
    assert int(peak[1]) < 2**20
