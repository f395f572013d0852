"""Complete runs as charts show them: a panel for each column, a line for each row of the table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from unlearn.report.pivot import natural
from unlearn.report.runs import DAGGER, as_text

# More lines in a chart are hard to tell apart, more panels are hard to compare.
MOST_GROUPS = 7
MOST_PANELS = 4


@dataclass(frozen=True)
class Group:
    """The runs of one line.

    Args:
        label: the values of the row keys in which the groups differ.
        runs: the complete ones, as `runs.load` gives them.
        place: number of the group, the same in every panel; it chooses the style of the line.
    """

    label: str
    runs: pd.DataFrame
    place: int


@dataclass(frozen=True)
class Panel:
    """The groups of one chart.

    Args:
        title: the values of the column keys, empty if there are none.
        groups: the first `MOST_GROUPS` groups, without those that have no runs here.
        others: the runs of the groups that are not drawn.
    """

    title: str
    groups: list[Group]
    others: pd.DataFrame

    @property
    def runs(self) -> pd.DataFrame:
        """The runs of all groups that are drawn."""
        return pd.concat([group.runs for group in self.groups])


@dataclass(frozen=True)
class Panels:
    """The panels that are drawn, and how many groups and panels there are in all."""

    drawn: list[Panel]
    labels: list[str]
    total_groups: int
    total_panels: int

    def limits(self) -> list[str]:
        """Sentences on what is not drawn."""
        groups, columns = (MOST_GROUPS, self.total_groups), (MOST_PANELS, self.total_panels)
        lines = [
            f"The first {most} of {total} {name} are drawn."
            for (most, total), name in ((groups, "groups"), (columns, "columns"))
            if total > most
        ]
        return [*lines, "Choose others with --where."] if lines else []


def panels(runs: pd.DataFrame, rows: Sequence[str], columns: Sequence[str]) -> Panels:
    """The panels and groups of the complete runs, in the order of the table.

    Args:
        runs: as `runs.load` gives them.
        rows: config keys; each combination of values is a group.
        columns: config keys; each combination of values is a panel.
    """
    complete = runs[runs["status"] == "complete"]
    lines, blocks = _grouped(complete, rows), _grouped(complete, columns)
    shown = list(lines)[:MOST_GROUPS]
    labels = [
        f"{label}{DAGGER}" if complete.loc[lines[name], "oracle"].any() else label
        for name, label in zip(shown, _labels(rows, lines), strict=False)
    ]
    used = {index for name in shown for index in lines[name]}
    drawn = []
    for block, indices in list(blocks.items())[:MOST_PANELS]:
        inside = complete.loc[indices]
        groups = [
            Group(label, inside[inside.index.isin(lines[name])], place)
            for place, (name, label) in enumerate(zip(shown, labels, strict=True))
        ]
        groups = [group for group in groups if len(group.runs)]
        title = ", ".join(f"{k}={v}" for k, v in zip(columns, block, strict=True))
        if columns and inside["oracle"].all():
            title += DAGGER
        if groups:
            drawn.append(Panel(title, groups, inside[~inside.index.isin(used)]))
    return Panels(drawn, labels, len(lines), len(blocks))


def _grouped(runs: pd.DataFrame, keys: Sequence[str]) -> dict[tuple[str, ...], list[int]]:
    """Index labels of the runs by the keys' values as text, in the order of the table."""
    found: dict[tuple[str, ...], list[int]] = {}
    for index, *values in runs[[*keys]].map(as_text).itertuples():
        found.setdefault(tuple(values), []).append(index)
    return {name: found[name] for name in sorted(found, key=natural)}


def _labels(keys: Sequence[str], names: Iterable[tuple[str, ...]]) -> list[str]:
    """The values in which the groups differ, after their keys unless these are obvious."""
    every = list(names)
    varying = [i for i in range(len(keys)) if len({name[i] for name in every}) > 1]
    obvious = ("dataset", "model", "method")
    return [
        ", ".join(
            name[i] if keys[i] in obvious else f"{keys[i]}={name[i]}"
            for i in varying or range(len(keys))
        )
        or "all runs"
        for name in every
    ]
