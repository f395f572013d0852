"""Ten thousand runs: seconds, not minutes, and little memory."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.synthetic import add_history, put

# What a report may take on a machine of its own is half of this.
SECONDS = 40
# The child's own peak: ru_maxrss would begin at what this process held when it forked.
CODE = """
import atexit, pathlib, runpy, sys
status = pathlib.Path('/proc/self/status')
atexit.register(lambda: print(status.read_text(), file=sys.stderr))
runpy.run_module('unlearn.report', run_name='__main__')
"""


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2,000 settings of five seeds, each run with its record and its history."""
    outputs = tmp_path_factory.mktemp("many")
    one = put(outputs / "one")
    add_history(one, [5.0, 1.0, 0.0])
    record = json.loads((one / "record.json").read_text())
    for number in range(10_000):
        start, gate, forget = number // 5 % 20 / 20, number // 100 % 10 / 100, number // 1000
        record["seed"] = record["config"]["seed"] = number % 5
        record["config"]["method"]["start"] = start
        record["config"]["filter"]["gate"] = gate
        record["forget"] = record["config"]["forget"] = [forget]
        keys = {"method.start": start, "filter.gate": gate, "seed": number % 5}
        record["command"] = [f"forget=[{forget}]", *(f"{k}={v}" for k, v in keys.items())]
        folder = outputs / "runs" / str(number % 100) / str(number)
        folder.mkdir(parents=True)
        (folder / "record.json").write_text(json.dumps(record))
        shutil.copyfile(one / "history.parquet", folder / "history.parquet")
    return outputs / "runs"


@pytest.mark.slow
@pytest.mark.parametrize("command", ["table", "page"])
def test_ten_thousand_records_take_seconds(command: str, many: Path, tmp_path: Path) -> None:
    keys, target = "forget,filter.gate,method.start", tmp_path / "report"
    arguments = [command, many, "--rows", keys, "--output", target]
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", CODE, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    spent = time.perf_counter() - start
    assert done.returncode == 0, done.stderr
    text = target.read_text()
    if command == "page":
        assert text.count('<tr><td class="key">') == 2000
        assert "The first 7 of 2000 groups are drawn." in text
        assert "method.start=0.0,0.05,0.1," in text
    else:
        assert sum("97.00 ± 0.00" in line for line in text.splitlines()) == 2000
    assert spent < SECONDS
    peak = re.search(r"VmHWM:\s+(\d+) kB", done.stderr)
    assert peak is not None
    assert int(peak[1]) < 2**20
