"""Reads what W&B keeps of a run on disk, with wandb's own reader."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def read_back(directory: Path) -> list[dict[str, Any]]:
    """The records of a run's transaction log, as `wandb leet inspect --json` prints them."""
    (log,) = directory.glob("wandb/offline-run-*/run-*.wandb")
    reader = [str(Path(sys.executable).parent / "wandb"), "leet", "inspect", "--json", str(log)]
    done = subprocess.run(reader, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def the_run(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Its name, tags and so on, as last written."""
    run: dict[str, Any] = [r["run"] for r in found if "run" in r][-1]
    return run


def config_of(found: list[dict[str, Any]]) -> dict[str, Any]:
    """What was logged as its config."""
    config: dict[str, Any] = the_run(found)["config"]["update"]
    return config


def summary_of(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Its summary at the end."""
    summary: dict[str, Any] = {}
    for record in found:
        summary |= record.get("summary", {}).get("update", {})
    return summary


def curve_of(found: list[dict[str, Any]], name: str) -> list[Any]:
    """The values of one quantity, in order."""
    rows = [r["history"]["item"] for r in found if "history" in r]
    return [row[name] for row in rows if name in row]


def exit_code_of(found: list[dict[str, Any]]) -> int:
    """The exit code with which it was closed."""
    (ended,) = [r["exit"] for r in found if "exit" in r]
    return int(ended.get("exit_code", 0))
