"""Runs the command line as a user does: a process of its own in an empty folder."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from command_line import Cli, command


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
