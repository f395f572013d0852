"""Ten thousand runs: each record is read once, work grows with the runs, and memory stays small."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.helpers.synthetic import add_history, put, report

# The child's own peak: ru_maxrss would begin at what this process held when it forked.
CODE = """
import atexit, pathlib, resource, runpy, sys
resource.setrlimit(resource.RLIMIT_CPU, (40, 40))
status = pathlib.Path('/proc/self/status')
atexit.register(lambda: print(status.read_text(), file=sys.stderr))
runpy.run_module('unlearn.report', run_name='__main__')
"""
KEYS = ["--rows", "forget,filter.gate,method.start"]


def fill(outputs: Path, count: int) -> Path:
    """Settings of five seeds, each run with its record and a link to one history."""
    one = put(outputs / "one")
    add_history(one, [5.0, 1.0, 0.0])
    record = json.loads((one / "record.json").read_text())
    for number in range(count):
        start, gate, forget = number // 5 % 20 / 20, number // 100 % 10 / 100, number // 1000
        record["config_hash"] = str(number)
        record["seed"] = record["config"]["seed"] = number % 5
        record["config"]["method"]["start"] = start
        record["config"]["filter"]["gate"] = gate
        record["forget"] = record["config"]["forget"] = [forget]
        keys = {"method.start": start, "filter.gate": gate, "seed": number % 5}
        record["command"] = [f"forget=[{forget}]", *(f"{k}={v}" for k, v in keys.items())]
        folder = outputs / "runs" / str(number % 100) / str(number)
        folder.mkdir(parents=True)
        (folder / "record.json").write_text(json.dumps(record))
        os.link(one / "history.parquet", folder / "history.parquet")
    return outputs / "runs"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file is opened."""
    counts: Counter[str] = Counter()
    original = io.open

    def counting(file: object, *words: object, **named: object) -> object:
        counts[str(file)] += 1
        return original(file, *words, **named)  # type: ignore[call-overload]

    monkeypatch.setattr(io, "open", counting)
    return counts


@pytest.mark.parametrize("command", ["table", "page", "leaderboard"])
def test_each_record_is_read_once(command: str, opened: Counter[str], tmp_path: Path) -> None:
    outputs = fill(tmp_path, 40)
    opened.clear()
    keys = KEYS if command != "leaderboard" else []
    done = report(command, outputs, *keys, "--output", tmp_path / "report")
    assert done.returncode == 0, done.stderr
    reads = [count for path, count in opened.items() if path.endswith("record.json")]
    expected = 2 if command == "leaderboard" else 1  # it reads the audits too
    assert reads == [expected] * 40


@pytest.mark.slow
@pytest.mark.parametrize("command", ["table", "page", "frontier"])
def test_ten_thousand_runs_fit_into_a_gibibyte_and_seconds(command: str, tmp_path: Path) -> None:
    target = tmp_path / "report"
    words = [command, str(fill(tmp_path / "many", 10_000)), *KEYS, "--output", str(target)]
    call = [sys.executable, "-c", CODE, *words]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text = target.read_text()
    if command == "page":
        assert text.count('<tr><td class="key">') == 2000
        assert "The first 7 of 2000 groups are drawn." in text
        assert "method.start=0.0,0.05,0.1," in text
        assert "<h2>Frontier of D_r and AIN</h2>" in text
    elif command == "frontier":
        assert text.count(">0.95</text>") == 7  # a label on each line
    else:
        assert sum("97.00 ± 0.00" in line for line in text.splitlines()) == 2000
    peak = re.search(r"VmHWM:\s+(\d+) kB", done.stderr)
    assert peak is not None
    assert int(peak[1]) < 2**20
