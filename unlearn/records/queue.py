"""Runs that wait in SLURM's queue: a note beside each run directory, checked against the queue."""

from __future__ import annotations

import subprocess
from functools import cached_property
from pathlib import Path

# States in which a job will do nothing more.
ENDED = frozenset(
    (
        *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL"),
        *("OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT"),
    )
)


def read_states() -> dict[str, str] | None:
    """Return the states of all of the user's jobs by number, or None if SLURM does not answer.

    Asked for all jobs, squeue fails only if there is no answer; asked for one, it also fails if
    the job ended long ago.
    """
    words = ["squeue", "--me", "--array", "--noheader", "--states=all", "--format=%F %K %T"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except OSError:  # no SLURM here
        return None
    if done.returncode != 0:
        return None
    states = {}
    for line in done.stdout.splitlines():
        array, task, state = line.split()
        states[array if task == "N/A" else f"{array}_{task}"] = state
    return states


class Queue:
    """The jobs that were submitted for runs and have not ended; SLURM is asked at most once."""

    def holds(self, directory: Path) -> bool:
        """Return whether a job for the run in this directory waits or is going on."""
        note = _note(directory)
        if not note.exists() or self._states is None:
            return False
        state = self._states.get(note.read_text().strip())
        return state is not None and state not in ENDED

    @cached_property
    def _states(self) -> dict[str, str] | None:
        return read_states()


def note_job(directory: Path, job: str) -> None:
    """Write beside a run directory which job was submitted for it."""
    note = _note(directory)
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(f"{job}\n")


def remove_note(directory: Path) -> None:
    """Remove the note of a job that has ended."""
    _note(directory).unlink(missing_ok=True)


def _note(directory: Path) -> Path:
    return directory.parent / f".{directory.name}.queued"
