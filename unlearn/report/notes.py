"""What a reader must know of a table: how it was averaged, what it mixes, what is missing."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from unlearn.report.runs import DAGGER, mixed

AVERAGES = "Mean ± 95% confidence interval (Student's t) over complete runs, test set."
DIFFERENCES = (
    "Difference from the reference (against) ± 95% confidence interval, averaged evenly over the "
    "other keys' values; for two keys, how the one's difference differs with the other. Least "
    "squares over complete runs, test set, with data set, model, method, classes and seed as "
    "blocks where they are no keys; each run may have a spread of its own (HC3)."
)


@dataclass(frozen=True)
class Missing:
    """A run without figures.

    Args:
        setting: what the run is, for people.
        command: that does it again or goes on with it; None if it was started from Python.
        error: what went wrong, None if it was cut off.
        directory: of the run.
    """

    setting: str
    command: str | None
    error: str | None
    directory: str


def remarks(runs: pd.DataFrame, keys: Sequence[str], first: str = AVERAGES) -> list[str]:
    """Sentences on what the cells are, and what they mix besides the keys."""
    lines = [first]
    differing = mixed(runs, keys)
    if differing:
        lines.append(
            f"Mixed: some cells average runs that differ in {', '.join(differing)}; "
            "name these as keys, or choose with --where."
        )
    oracle = runs["oracle"].sum()
    if oracle:
        lines.append(
            f"Oracle{DAGGER}: real test figures steered {oracle} runs, or may have chosen their "
            "settings."
        )
    loud = runs[(runs["status"] == "complete") & (runs["alarms"] != "")]
    if len(loud):
        kinds = loud["alarms"].str.split("; ").explode().value_counts().sort_index()
        found = ", ".join(f"{kind} in {count}" for kind, count in kinds.items())
        lines.append(f"Alarms: in {len(loud)} runs ({found}).")
    return lines


def missing(runs: pd.DataFrame, status: str) -> list[Missing]:
    """The runs that are `failed` or `unfinished`."""
    found = []
    for _, run in runs[runs["status"] == status].iterrows():
        setting = " ".join(str(run[key]) for key in ("dataset", "model", "method"))
        mark = DAGGER if run["oracle"] else ""
        words: list[str] | None = run["command"]
        command = None if words is None else shlex.join(["unlearn", *words])
        found.append(
            Missing(
                f"{setting}, forget {run['forget']}, seed {run['seed']}{mark}",
                command,
                run["error"] if isinstance(run["error"], str) else None,
                run["directory"],
            )
        )
    return found


def as_lines(runs: pd.DataFrame, said: Sequence[str]) -> str:
    """The remarks, and the runs that are missing, as text to put below a table."""
    lines = ["", *said]
    failed, unfinished = missing(runs, "failed"), missing(runs, "unfinished")
    if failed:
        lines.append(f"Failed: {len(failed)} of {len(runs)} runs. To run them again:")
    for run in failed:
        lines += [f"  {_command(run)}", f"    {run.error}"]
    if unfinished:
        lines.append(
            f"Unfinished: {len(unfinished)} of {len(runs)} runs were cut off, or are still "
            "running. To go on with them:"
        )
    lines += [f"  {_command(run)}" for run in unfinished]
    return "\n".join(lines) + "\n"


def _command(run: Missing) -> str:
    return run.command or f"(started from Python: {run.directory})"
