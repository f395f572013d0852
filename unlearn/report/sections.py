"""The page's sections of charts, each with what it leaves out and the commands of its runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from unlearn.report import charts, frontier_chart
from unlearn.report.frontier import AGAINST, Against, measured, unmeasured
from unlearn.report.groups import Panels, panels
from unlearn.report.observed import MOST_RUNS, curve
from unlearn.report.runs import as_text
from unlearn.report.svg import ORIGINAL, OTHERS, RETRAINED, STYLES, Style, swatch
from unlearn.report.sweeps import Sweep, folded

_LINE = (replace(RETRAINED, marker=""), "retrained (target)")
_POINT = (replace(RETRAINED, line="none"), "retrained (target)")


@dataclass(frozen=True)
class PageSettings:
    """What the page shows.

    Args:
        rows: config keys; each combination is a row of the table and a line of the charts.
        columns: config keys; each combination is a block of the table and a chart.
        curves: numeric config keys that are the axes of charts.
        along: the config key whose values are the points of the frontier's lines.
        title: of the page.
        command: the command that makes the page.
    """

    rows: Sequence[str]
    columns: Sequence[str]
    curves: Sequence[str]
    along: str
    title: str
    command: str


@dataclass(frozen=True)
class Section:
    """Charts of one kind.

    Args:
        title: of the section.
        text: what the charts show.
        charts: SVG elements.
        sweeps: commands that made the runs behind the charts.
        notes: sentences on what the charts leave out.
        legend: an SVG element and a text for each line or marker.
        abreast: how many charts stand side by side where there is room.
    """

    title: str
    text: str
    charts: list[str]
    sweeps: list[Sweep]
    notes: list[str]
    legend: list[tuple[str, str]]
    abreast: int = 2


def sections(runs: pd.DataFrame, drawn: Panels, wanted: PageSettings) -> list[Section]:
    """The sections that have something to show.

    Args:
        runs: as `runs.load` gives them.
        drawn: the same in panels and groups.
        wanted: what the page shows.
    """

    def others(key: str) -> list[list[str]]:
        return [[name for name in names if name != key] for names in (wanted.rows, wanted.columns)]

    found = [_iterations(drawn), _scatter(drawn)]
    for against in AGAINST.values():
        usable, along = measured(runs, against), wanted.along
        if along in runs and usable[along].nunique() > 1:
            found.append(_frontier(runs, panels(usable, *others(along)), along, against))
    for number, key in enumerate(wanted.curves):
        found.append(_threshold(f"threshold-{number}", panels(runs, *others(key)), key))
    return [section for section in found if section.charts]


def swept(runs: pd.DataFrame, keys: Sequence[str]) -> list[str]:
    """The keys that hold numbers and have three values or more, `null` included."""
    complete = runs[runs["status"] == "complete"]
    return [
        key
        for key in keys
        if not key.endswith("seed")
        and numeric(complete, key)
        and complete[key].map(as_text).nunique() >= 3
    ]


def numeric(runs: pd.DataFrame, key: str) -> bool:
    """Whether a key holds numbers in some runs and is null in all others."""
    known = runs[key].dropna()
    numbers = [isinstance(v, int | float) and not isinstance(v, bool) for v in known]
    return bool(numbers) and all(numbers)


def _iterations(drawn: Panels) -> Section:
    pictured, behind = list[str](), list[pd.DataFrame]()
    unread = without = 0
    for number, panel in enumerate(drawn.drawn):
        curves = [found for group in panel.groups if (found := curve(group)) is not None]
        if curves:
            pictured += charts.against_iterations(f"iterations-{number}", panel.title, curves)
        read = [group.runs[:MOST_RUNS] for group in panel.groups]
        behind += read
        unread += len(panel.runs) - sum(map(len, read))
        without += sum(map(len, read)) - sum(found.runs for found in curves)
    notes = drawn.limits()
    if unread:
        notes.append(f"A line is the mean of its first {MOST_RUNS} runs; {unread} are not read.")
    if without:
        notes.append(f"{without} runs have no history of accuracies.")
    text = (
        "Accuracies of the student while it was unlearned: mean over the runs that were evaluated "
        "at an iteration, and the 95% confidence interval as a band. The dotted line is the "
        "retrained model, which is the target, with its own band. It has a group's colour where "
        "the groups differ."
    )
    legend = _legend("iterations", drawn.labels, _LINE)
    title = "Accuracy against iterations"
    return Section(title, text, pictured, _commands(behind), notes, legend)


def _scatter(drawn: Panels) -> Section:
    text = (
        "Each point is a run at the end of its method. Higher means that more was retained, "
        "further left that more was forgotten. The retrained models are the target, the original "
        "ones the start."
    )
    models = [(ORIGINAL, "original"), _POINT]
    if any(len(panel.others) for panel in drawn.drawn):
        models.append((OTHERS, "runs of the other groups"))
    pictured = [
        charts.retain_against_forget(f"scatter-{number}", panel)
        for number, panel in enumerate(drawn.drawn)
        if panel.runs["D_r"].notna().any()
    ]
    sweeps = _commands(part for panel in drawn.drawn for part in (panel.runs, panel.others))
    legend = _legend("scatter", drawn.labels, *models)
    title = "Retain against forget accuracy"
    return Section(title, text, pictured, sweeps, drawn.limits(), legend)


def _frontier(runs: pd.DataFrame, drawn: Panels, key: str, against: Against) -> Section:
    name = f"frontier-{against.name}"
    pictured = [
        frontier_chart.one_panel(f"{name}-{number}", panel, key, against)
        for number, panel in enumerate(drawn.drawn)
    ]
    sweeps = _commands(panel.runs for panel in drawn.drawn)
    notes = [*drawn.limits(), *unmeasured(runs, against)]
    legend = _legend(name, drawn.labels, _POINT)
    text = frontier_chart.caption(drawn, key, [against])
    title = f"Frontier of D_r and {against.name}"
    return Section(title, text, pictured, sweeps, notes, legend)


def _threshold(name: str, drawn: Panels, key: str) -> Section:
    text = (
        f"Mean and 95% confidence interval over runs at each value of {key}; null is drawn apart, "
        "as off. The dotted line is the retrained model: no difference in D_r, its own D_f, an AIN "
        "of 1."
    )
    pictured = [
        chart
        for number, panel in enumerate(drawn.drawn)
        if numeric(panel.runs, key)
        for chart in charts.against_threshold(f"{name}-{number}", panel, key)
    ]
    sweeps = _commands(panel.runs for panel in drawn.drawn)
    legend = _legend(name, drawn.labels, _LINE)
    return Section(f"Against {key}", text, pictured, sweeps, drawn.limits(), legend, abreast=3)


def _commands(parts: Iterable[pd.DataFrame]) -> list[Sweep]:
    return folded([command for part in parts for command in part["command"]])


def _legend(name: str, labels: Sequence[str], *models: tuple[Style, str]) -> list[tuple[str, str]]:
    points = models[0][0].line == "none"
    styles = [replace(style, line="none") if points else style for style in STYLES]
    entries = [*zip(styles, labels, strict=False), *models]
    return [
        (swatch(f"{name}-key-{number}", style), label)
        for number, (style, label) in enumerate(entries)
    ]
