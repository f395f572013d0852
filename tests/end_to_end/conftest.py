"""Runs the command line as a user does: a process of its own in an empty folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# The smallest real run: LeNet on digits, two epochs, a handful of generator iterations.
TINY = [
    "model=lenet",
    "method=gkt",
    "training.epochs=2",
    "method.iterations=4",
    "method.batch_size=16",
    "method.student_steps=2",
    "evaluation=quick",
    "hardware=cpu",
    "hardware.threads=1",
    "tracking.mode=disabled",
]

Cli = Callable[..., subprocess.CompletedProcess[str]]


def command(*arguments: str) -> list[str]:
    """The argument vector of one `unlearn` call."""
    return [sys.executable, "-m", "unlearn", *arguments]


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Call `unlearn` in the test's own folder and return the finished process."""

    def call(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*arguments),
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return call


def record_in(directory: Path) -> dict[str, Any]:
    """The record of a run directory."""
    record: dict[str, Any] = json.loads((directory / "record.json").read_text())
    return record
