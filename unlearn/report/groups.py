"""Complete runs in panels by the columns' keys, and in each panel in groups by the rows' keys."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from unlearn.report.pivot import natural
from unlearn.report.runs import DAGGER, as_text

# More lines than this in one chart cannot be told apart, more panels cannot be compared.
MOST_GROUPS = 7
MOST_PANELS = 4


@dataclass(frozen=True)
class Group:
    """Runs that one line shows.

    Args:
        label: the values of the rows' keys that tell it from the other groups.
        runs: complete ones, as `runs.load` gives them.
        place: the group's among all groups of the page, the same in every panel.
    """

    label: str
    runs: pd.DataFrame
    place: int


@dataclass(frozen=True)
class Panel:
    """Groups to be drawn in one chart.

    Args:
        title: the values of the columns' keys, empty if there are no columns.
        groups: the first `MOST_GROUPS`, those without runs here left out.
        others: runs of the groups that are not drawn.
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
    """The panels that are drawn, and how many groups and panels there would be."""

    drawn: list[Panel]
    labels: list[str]
    total_groups: int
    total_panels: int

    def limits(self) -> list[str]:
        """Sentences on what is not drawn."""
        lines = []
        if self.total_groups > MOST_GROUPS:
            lines.append(f"The first {MOST_GROUPS} of {self.total_groups} groups are drawn.")
        if self.total_panels > MOST_PANELS:
            lines.append(f"The first {MOST_PANELS} of {self.total_panels} columns are drawn.")
        return [*lines, "Choose others with --where."] if lines else []


def panels(runs: pd.DataFrame, rows: Sequence[str], columns: Sequence[str]) -> Panels:
    """Panels and groups in the order of the table; runs without figures are left out."""
    complete = runs[runs["status"] == "complete"]
    lines, blocks = _grouped(complete, rows), _grouped(complete, columns)
    shown = list(lines)[:MOST_GROUPS]
    labels = [
        marked(label, complete.loc[lines[name]])
        for name, label in zip(shown, _labels(rows, lines), strict=False)
    ]
    drawn = []
    for block, indices in list(blocks.items())[:MOST_PANELS]:
        inside = complete.loc[indices]
        groups = [
            Group(label, inside[inside.index.isin(lines[name])], place)
            for place, (name, label) in enumerate(zip(shown, labels, strict=True))
        ]
        groups = [group for group in groups if len(group.runs)]
        used = [index for name in shown for index in lines[name]]
        title = ", ".join(f"{k}={v}" for k, v in zip(columns, block, strict=True))
        if groups:
            others = inside[~inside.index.isin(used)]
            steered = columns and inside["oracle"].all()
            drawn.append(Panel(f"{title}{DAGGER}" if steered else title, groups, others))
    return Panels(drawn, labels, len(lines), len(blocks))


def marked(label: str, runs: pd.DataFrame) -> str:
    """The label, with a dagger if real test accuracies steered some of the runs."""
    return f"{label}{DAGGER}" if runs["oracle"].any() else label


def _grouped(runs: pd.DataFrame, keys: Sequence[str]) -> dict[tuple[str, ...], list[int]]:
    """Index labels of the runs by the keys' values as text, in the order of the table."""
    if runs.empty:
        return {}
    if not keys:
        return {(): list(runs.index)}
    names = zip(*(runs[key].map(as_text) for key in keys), strict=True)
    found: dict[tuple[str, ...], list[int]] = {}
    for index, name in zip(runs.index, names, strict=True):
        found.setdefault(name, []).append(index)
    return {name: found[name] for name in sorted(found, key=natural)}


def _labels(keys: Sequence[str], names: Iterable[tuple[str, ...]]) -> list[str]:
    """What tells the groups apart; the values alone where the key would add nothing."""
    every = list(names)
    varying = [i for i in range(len(keys)) if len({name[i] for name in every}) > 1]
    words = ("dataset", "model", "method")
    return [
        ", ".join(
            name[i] if keys[i] in words else f"{keys[i]}={name[i]}"
            for i in varying or range(len(keys))
        )
        or "all runs"
        for name in every
    ]
