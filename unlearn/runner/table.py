"""The table of one run, for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

_CONTRACT = ("accuracy", "relearn", "membership", "divergence")


def print_run(record: Mapping[str, Any], directory: Path) -> None:
    """Print original / retrained / unlearned side by side, and where the files are."""
    console = Console(width=max(100, Console().width), markup=False)
    console.print(_table(record))
    if record["divergence"]["retain"] is not None:
        console.print(
            "Jensen-Shannon divergence from retrained (bits): "
            f"retain {record['divergence']['retain']:.4f}, "
            f"forget {_number(record['divergence']['forget'], '.4f')}"
        )
    if record["proxy"]["retain"] is not None:
        console.print(
            "Without data, on images inverted from the teacher: answers "
            f"{record['proxy']['retain']:.1f}% of the retain classes as the teacher does, "
            f"{record['proxy']['forget']:.1f}% of the forget classes with a forget class"
        )
    if record["relearn"]["censored"]:
        console.print("Relearning: a count reached its limit, so that it is a lower bound")
    if record["audits_inside"] is not None:
        console.print(
            f"Audits: {record['audits_inside']:.0%} within the spread of retrained networks"
        )
    for alarm in record["alarms"]:
        console.print(f"Alarm: {alarm}")
    unknown = [name for name in _CONTRACT if _all_none(record[name])]
    if unknown:
        why = "computed without data" if record["dataset"] == "none" else "measured"
        console.print(f"Not {why}: {', '.join(unknown)}")
    console.print(f"Files: {directory}", soft_wrap=True, highlight=False)


def _table(record: Mapping[str, Any]) -> Table:
    title = (
        f"{record['method']} on {record['dataset']} / {record['model']}: "
        f"forget {_list_classes(record)}, seed {record['seed']}"
    )
    table = Table(title=Text(title, style="table.title"), title_justify="left")
    table.add_column("")
    headings = ("D_r test", "D_f test", "D_r train", "D_f train", "relearn", "AIN", "MIA AUC", "s")
    for heading in headings:
        table.add_column(heading, justify="right")
    relearn, seconds = record["relearn"], record["seconds"]
    columns: dict[str, tuple[Any, Any, Any]] = {
        "original": (None, None, seconds["teacher"]),
        "retrained": (relearn["retrained_steps"], None, seconds["retrained"]),
        "unlearned": (relearn["unlearned_steps"], relearn["ain"], seconds["unlearn"]),
    }
    for name, (steps, ain, spent) in columns.items():
        accuracy = record["accuracy"][name]
        table.add_row(
            name,
            *(
                _number(accuracy[split][part], ".2f")
                for split in ("test", "train")
                for part in ("retain", "forget")
            ),
            _number(steps, ".4g"),
            _number(ain, ".2f"),
            _number(record["membership"][name]["auc"], ".3f"),
            _number(spent, ".1f"),
        )
    return table


def _list_classes(record: Mapping[str, Any]) -> str:
    """Return the names of the forget classes, with their indices where the two differ."""
    indices = [str(c) for c in record["forget"]]
    names = record.get("forget_names", indices)
    if names == indices:
        return ", ".join(indices)
    return f"{', '.join(names)} ({'class' if len(names) == 1 else 'classes'} {', '.join(indices)})"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _all_none(values: Any) -> bool:
    if isinstance(values, Mapping):
        return all(_all_none(value) for value in values.values())
    return values is None or values == []
