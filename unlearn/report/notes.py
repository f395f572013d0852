"""Sentences below a table: how it was averaged, what its cells mix, and which runs are missing."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from unlearn.escape import printable
from unlearn.report.runs import DAGGER, mixed

AVERAGES = "Mean ± 95% confidence interval (Student's t) over complete runs, test set."
DIFFERENCES = (
    "Difference from the reference level (against) ± 95% confidence interval, averaged evenly over "
    "the levels of the other keys. A row of two keys is their interaction: how the difference of "
    "one key depends on the other. Least squares over complete runs, test set. Data set, model, "
    "method, forget classes and seed are blocks unless they are keys. The intervals allow each run "
    "its own variance (HC3)."
)


@dataclass(frozen=True)
class Missing:
    """A run without figures.

    Args:
        setting: data set, model, method, forget classes and seed of the run.
        command: the command that repeats or resumes it, or where it is if Python started it.
        error: the error that ended it, empty if it was cut off.
    """

    setting: str
    command: str
    error: str


def remarks(runs: pd.DataFrame, keys: Sequence[str], first: str = AVERAGES) -> list[str]:
    """Sentences on what the cells of a table are.

    Args:
        runs: as `runs.load` gives them.
        keys: config keys whose values tell the cells apart; others that differ are named.
        first: sentence on how the runs of a cell are summarised.
    """
    lines = [first]
    if differing := mixed(runs, keys):
        lines.append(
            f"Mixed: some cells average runs that differ in {', '.join(differing)}; "
            "add these keys to the rows or columns, or choose with --where."
        )
    complete = runs[runs["status"] == "complete"]
    if again := complete.get("config_hash", pd.Series()).dropna().duplicated().sum():
        lines.append(
            f"Repeated: {again} runs have the config and seed of another run and other results; "
            "each of them counts."
        )
    if oracle := runs["oracle"].sum():
        lines.append(
            f"Oracle{DAGGER}: in {oracle} runs, test accuracies steered the method or may have "
            "chosen its settings."
        )
    loud = complete[complete["alarms"] != ""]
    if len(loud):
        kinds = loud["alarms"].str.split("; ").explode().value_counts().sort_index()
        found = ", ".join(f"{kind} in {count}" for kind, count in kinds.items())
        lines.append(f"Alarms: in {len(loud)} runs ({found}).")
    return lines


def missing(runs: pd.DataFrame, status: str) -> list[Missing]:
    """The runs whose status is `failed` or `unfinished`."""
    found = []
    for _, run in runs[runs["status"] == status].iterrows():
        names = " ".join(str(run[key]) for key in ("dataset", "model", "method"))
        mark = DAGGER if run["oracle"] else ""
        words: list[str] | None = run["command"]
        command = "" if words is None else shlex.join(["unlearn", *words])
        found.append(
            Missing(
                f"{names}, forget {run['forget']}, seed {run['seed']}{mark}",
                command or f"# started from Python: {printable(run['directory'])}",
                run["error"] if isinstance(run["error"], str) else "",
            )
        )
    return found


def as_lines(runs: pd.DataFrame, said: Sequence[str]) -> str:
    """Sentences and the missing runs, as text to put below a table."""
    lines = ["", *said]
    heads = {
        "failed": "Failed: {} of {} runs. To run them again:",
        "unfinished": "Unfinished: {} of {} runs were cut off or are still running. To resume:",
    }
    for status, head in heads.items():
        found = missing(runs, status)
        lines += [head.format(len(found), len(runs))] if found else []
        for run in found:
            lines += [f"  {run.command}", *([f"    # {run.error}"] if run.error else [])]
    return "\n".join(lines) + "\n"
