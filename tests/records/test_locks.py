"""A lock is refused at once where there can be none, and whoever waits for one says so."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from unlearn.records.locks import hold, is_held

HOLDING = """
import sys, time
from pathlib import Path
from unlearn.records.locks import hold
with hold(Path(sys.argv[1]), Path(sys.argv[1]).parent):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def held(tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """A lock that another process holds until it is sent a line."""
    lock = tmp_path / ".lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    yield lock, holder
    holder.kill()
    holder.communicate()


def test_whoever_waits_says_for_which_folder(held: tuple[Path, subprocess.Popen[str]]) -> None:
    lock, holder = held
    waiting = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert waiting.stderr is not None
    assert waiting.stdout is not None
    assert str(lock.parent) in waiting.stderr.readline()
    holder.communicate("\n")
    assert waiting.stdout.readline() == "held\n"
    waiting.communicate("\n")


def test_a_lock_is_seen_without_writing(held: tuple[Path, subprocess.Popen[str]]) -> None:
    lock, holder = held
    before = lock.stat().st_mtime_ns
    assert is_held(lock)
    holder.kill()
    holder.wait()
    assert not is_held(lock), "a killed process holds nothing"
    assert lock.stat().st_mtime_ns == before
    assert not is_held(lock.with_name("nowhere"))


@pytest.mark.parametrize("place", ["/proc", "/proc/nowhere", "/dev/null"])
def test_where_no_lock_can_be_made_there_is_no_waiting(place: str) -> None:
    with (
        pytest.raises(OSError, match=r"No such file|Not a directory"),
        hold(Path(place) / ".nope.lock", Path(place)),
    ):
        pass


def test_an_uncontended_lock_is_silent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with hold(tmp_path / ".lock", tmp_path):
        assert is_held(tmp_path / ".lock")
    assert not is_held(tmp_path / ".lock")
    assert capsys.readouterr().err == ""
