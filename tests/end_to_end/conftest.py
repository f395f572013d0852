"""Runs the command line as a user does: a process of its own in an empty folder."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.command_line import Cli, Warm, command, surroundings

SECONDS = 300


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """Call `unlearn` in a folder, in a fork of a process that has the libraries imported."""
    server = subprocess.Popen(
        [sys.executable, str(Path(__file__).parents[1] / "helpers" / "warm.py")],
        env=surroundings(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    said = tmp_path_factory.mktemp("said")
    streams = {name: said / name for name in ("stdout", "stderr")}

    def call(
        arguments: list[str], folder: Path, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        for path in streams.values():
            path.write_text("")
        asked = {
            "arguments": arguments,
            "folder": str(folder),
            "environment": surroundings(**environment),
            "seconds": SECONDS,
            **{name: str(path) for name, path in streams.items()},
        }
        server.stdin.write(json.dumps(asked) + "\n")
        server.stdin.flush()
        status = int(server.stdout.readline())
        words = {name: path.read_text() for name, path in streams.items()}
        return subprocess.CompletedProcess(command(*arguments), status, **words)

    yield call
    server.stdin.close()
    server.wait()


@pytest.fixture
def cli(tmp_path: Path, warm: Warm) -> Cli:
    """Call `unlearn` in the test's own folder, check its exit status and return the process.

    The libraries are imported already, unless the call is to be `cold`.
    """

    def call(
        *arguments: str, cold: bool = False, code: int = 0, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        if cold:
            done = subprocess.run(
                command(*arguments),
                cwd=tmp_path,
                env=surroundings(**environment),
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
        else:
            done = warm(list(arguments), tmp_path, **environment)
        assert done.returncode == code, done.stderr
        return done

    return call


@pytest.fixture
def no_torch(tmp_path: Path) -> dict[str, Any]:
    """A call with a torch that stands in the way: whoever imports it fails the test."""
    (tmp_path / "trap").mkdir()
    (tmp_path / "trap" / "torch.py").write_text("raise SystemExit('torch was imported')\n")
    return {"cold": True, "PYTHONPATH": str(tmp_path / "trap")}
