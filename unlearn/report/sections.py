"""The page's sections of charts, each with what it leaves out and what made its runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from unlearn.report import charts, frontier_chart
from unlearn.report.frontier import AGAINST, Against, measured, unmeasured
from unlearn.report.groups import Panels, panels
from unlearn.report.observed import MOST_RUNS, curve
from unlearn.report.runs import as_text
from unlearn.report.svg import ORIGINAL, OTHERS, RETRAINED, STYLES, Style, swatch
from unlearn.report.sweeps import Sweep, folded

_LINE = replace(RETRAINED, marker="")

# Above these the page leaves the frontier, minutes of work, to the command `frontier`.
_FRONTIER_RUNS = 3000


@dataclass(frozen=True)
class Section:
    """Charts of one kind.

    Args:
        title: of the section.
        text: what they show.
        charts: SVG elements.
        sweeps: that made the runs behind them.
        notes: sentences on what they leave out.
        legend: an SVG element and a text for each line or marker.
        abreast: charts that stand side by side where there is room.
    """

    title: str
    text: str
    charts: list[str]
    sweeps: list[Sweep]
    notes: list[str] = field(default_factory=list)
    legend: list[tuple[str, str]] = field(default_factory=list)
    abreast: int = 2


def sections(
    runs: pd.DataFrame,
    drawn: Panels,
    rows: Sequence[str],
    columns: Sequence[str],
    keys: Sequence[str],
    along: str,
) -> list[Section]:
    """Those that have something to show.

    Args:
        runs: as `runs.load` gives them.
        drawn: the same in panels and groups.
        rows: keys whose combinations are lines.
        columns: keys whose combinations are charts side by side.
        keys: numeric keys against which figures are drawn.
        along: the key whose values are the points of the frontier's lines.
    """

    def others(key: str) -> list[list[str]]:
        return [[name for name in names if name != key] for names in (rows, columns)]

    found = [_iterations(drawn), _scatter(drawn)]
    for against in AGAINST.values():
        usable = measured(runs, against)
        if along in runs and usable[along].nunique() > 1 and len(usable) <= _FRONTIER_RUNS:
            found.append(_frontier(runs, panels(usable, *others(along)), along, against))
    for number, key in enumerate(keys):
        found.append(_threshold(f"threshold-{number}", panels(runs, *others(key)), key))
    return [section for section in found if section.charts]


def swept(runs: pd.DataFrame, keys: Sequence[str]) -> list[str]:
    """Those of the keys that hold numbers, of which three or more were run, off among them."""
    complete = runs[runs["status"] == "complete"]
    return [
        key
        for key in keys
        if not key.endswith("seed")
        and numeric(complete, key)
        and complete[key].map(as_text).nunique() >= 3
    ]


def numeric(runs: pd.DataFrame, key: str) -> bool:
    """Whether a key holds numbers in some runs, and nothing else but off in the others."""
    known = runs[key].dropna()
    numbers = [isinstance(v, int | float) and not isinstance(v, bool) for v in known]
    return bool(numbers) and all(numbers)


def _iterations(drawn: Panels) -> Section:
    pictured, notes, behind = list[str](), drawn.limits(), list[list[str] | None]()
    unread = without = 0
    for number, panel in enumerate(drawn.drawn):
        curves = [found for group in panel.groups if (found := curve(group)) is not None]
        if curves:
            pictured += charts.against_iterations(f"iterations-{number}", panel.title, curves)
        read = [group.runs[:MOST_RUNS] for group in panel.groups]
        behind += [command for part in read for command in part["command"]]
        unread += len(panel.runs) - sum(map(len, read))
        without += sum(map(len, read)) - sum(found.runs for found in curves)
    if unread:
        notes.append(f"A line is the mean of its first {MOST_RUNS} runs; {unread} are not read.")
    if without:
        notes.append(f"{without} runs have no history of accuracies.")
    text = (
        "What the runner saw of the student on its way: mean over the runs that it looked at "
        "there, and the 95% confidence interval as a band. A dotted line is the retrained model, "
        "which is the target, with its own band; it has a group's colour where groups differ."
    )
    legend = _legend("iterations", drawn.labels, (_LINE, "retrained (target)"))
    return Section("Accuracy against iterations", text, pictured, folded(behind), notes, legend)


def _scatter(drawn: Panels) -> Section:
    text = (
        "A point a run, at the end of the method. Up is better kept, left is better forgotten; "
        "the retrained models are the target, and the original ones are where it began."
    )
    others = sum(len(panel.others) for panel in drawn.drawn)
    models = [(ORIGINAL, "original"), (replace(RETRAINED, line="none"), "retrained (target)")]
    models += [(OTHERS, "runs of the other groups")] if others else []
    pictured = [
        charts.retain_against_forget(f"scatter-{number}", panel)
        for number, panel in enumerate(drawn.drawn)
        if panel.runs["D_r"].notna().any()
    ]
    behind = [c for p in drawn.drawn for part in (p.runs, p.others) for c in part["command"]]
    legend = _legend("scatter", drawn.labels, *models)
    title = "Retain against forget accuracy"
    return Section(title, text, pictured, folded(behind), drawn.limits(), legend)


def _frontier(runs: pd.DataFrame, drawn: Panels, key: str, against: Against) -> Section:
    name = f"frontier-{against.name}"
    pictured = [
        frontier_chart.one_panel(f"{name}-{number}", panel, key, against)
        for number, panel in enumerate(drawn.drawn)
    ]
    behind = [command for panel in drawn.drawn for command in panel.runs["command"]]
    models = (replace(RETRAINED, line="none"), "retrained models")
    legend = _legend(name, drawn.labels, models)
    notes = [*drawn.limits(), *unmeasured(runs, against)]
    text = frontier_chart.caption(drawn, key, [against])
    return Section(
        f"Frontier of D_r and {against.name}", text, pictured, folded(behind), notes, legend
    )


def _threshold(name: str, drawn: Panels, key: str) -> Section:
    text = (
        f"Mean and 95% confidence interval over runs at each value of {key}; “off” stands apart. "
        "The dotted line is the retrained model: no difference in D_r, its own D_f, an AIN of 1."
    )
    pictured = [
        chart
        for number, panel in enumerate(drawn.drawn)
        if numeric(panel.runs, key)
        for chart in charts.against_threshold(f"{name}-{number}", panel, key)
    ]
    behind = [command for panel in drawn.drawn for command in panel.runs["command"]]
    legend = _legend(name, drawn.labels, (_LINE, "retrained (target)"))
    title, notes = f"Against {key}", drawn.limits()
    return Section(title, text, pictured, folded(behind), notes, legend, abreast=3)


def _legend(name: str, labels: Sequence[str], *models: tuple[Style, str]) -> list[tuple[str, str]]:
    points = models[0][0].line == "none"
    styles = [replace(style, line="none") if points else style for style in STYLES]
    entries = [*zip(styles, labels, strict=False), *models]
    return [
        (swatch(f"{name}-key-{number}", style), label)
        for number, (style, label) in enumerate(entries)
    ]
