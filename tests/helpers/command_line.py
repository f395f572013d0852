"""What the end-to-end tests share: the smallest real run, and the calls around it."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from tests.helpers.paths import SCHEMA

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

_PROGRESS = re.compile(r"^unlearn: (preparing$|\w[\w.-]* has begun, |\w[\w.-]*: step \d+ of )")
# Runs a script of the shell that may mount what nobody else sees.
PRIVATELY = ["unshare", "--mount", "--map-root-user", "sh", "-c"]

Cli = Callable[..., subprocess.CompletedProcess[str]]
Warm = Callable[..., subprocess.CompletedProcess[str]]


def command(*arguments: str) -> list[str]:
    """The argument vector of one `unlearn` call."""
    return [sys.executable, "-m", "unlearn", *arguments]


def surroundings(**environment: str) -> dict[str, str]:
    """The environment of a process that is to keep to one core, with these variables beside."""
    return {**os.environ, "OMP_NUM_THREADS": "1", **environment}


def said_in(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The lines of stderr but for those about the progress of a run."""
    return [line for line in done.stderr.splitlines() if not _PROGRESS.search(line)]


def run_program(
    *words: str | Path, folder: Path | None = None, code: int = 0, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run Python with these words in a process of its own, and check its exit status."""
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=folder,
        env=surroundings(**environment),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def one_line(done: subprocess.CompletedProcess[str], named: list[str]) -> None:
    """Check that a refusal is one line on stderr that holds some words."""
    lines = said_in(done)
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("unlearn: ")
    assert "Traceback" not in done.stderr + done.stdout
    for word in named:
        assert word in lines[0]


def run_privately(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a shell script whose mounts nobody else sees."""
    return subprocess.run(
        [*PRIVATELY, script],
        cwd=folder,
        env=surroundings(),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def record_in(directory: Path) -> dict[str, Any]:
    """The record of a run directory."""
    record: dict[str, Any] = json.loads((directory / "record.json").read_text())
    return record


def valid_record_in(directory: Path) -> dict[str, Any]:
    """The record of a run directory, checked against the schema."""
    record = record_in(directory)
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(record)
    return record


def can_mount() -> bool:
    """Whether a private tmpfs can be mounted here: Linux, root or user namespaces."""
    if shutil.which("unshare") is None:
        return False
    tried = "mount -t tmpfs -o size=1m tmpfs /mnt"
    mounted = subprocess.run([*PRIVATELY, tried], capture_output=True, check=False)
    return mounted.returncode == 0
