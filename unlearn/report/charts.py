"""The charts of the page: accuracies against iterations, retain against forget, thresholds."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from unlearn.report.groups import Group, Panel
from unlearn.report.observed import Curve
from unlearn.report.pivot import means
from unlearn.report.runs import as_text
from unlearn.report.svg import FOREGROUND, ORIGINAL, OTHERS, RETRAINED, STYLES, Style, chart
from unlearn.statistics import half_width

# More points than this are drawn as one bitmap.
_MANY_POINTS = 400
# Room for the value `null` (off), as a share of the axis.
_OFF = 0.18
# Above this many values, bands replace error bars.
_MANY_VALUES = 8


def against_iterations(name: str, title: str, curves: Sequence[Curve]) -> list[str]:
    """Draw D_r and D_f against iterations, with the retrained model's."""
    stages = sorted(set[str]().union(*(curve.stages for curve in curves)))
    x = f"iteration (stage {stages[0]})" if len(stages) == 1 else "iteration"
    charts = []
    for figure, part in (("D_r", "retain"), ("D_f", "forget")):

        def paint(axes: Axes, figure: str = figure, part: str = part) -> None:
            for curve in curves:
                _line(axes, getattr(curve, part), STYLES[curve.group.place], 0, 100)
            _references(axes, [curve.group for curve in curves], f"retrained {figure}")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            _room(axes, 5.0, percent=True)

        heading = titled(f"{figure} against iterations", title)
        charts.append(chart(f"{name}-{part}", heading, x, f"{figure}, test (%)", paint))
    return charts


def retain_against_forget(name: str, panel: Panel) -> str:
    """Draw each run as a point, with the original and the retrained models."""

    def paint(axes: Axes) -> None:
        others = panel.others
        _points(axes, others["D_f"], others["D_r"], OTHERS)
        for group in panel.groups:
            _points(axes, group.runs["D_f"], group.runs["D_r"], STYLES[group.place])
        for model, style in (("original", ORIGINAL), ("retrained", RETRAINED)):
            seen = panel.runs[[f"{model} D_f", f"{model} D_r"]].dropna().drop_duplicates()
            _points(axes, seen[f"{model} D_f"], seen[f"{model} D_r"], style)
        _room(axes, 5.0, percent=True)

    heading = titled("Retain against forget accuracy", panel.title)
    return chart(name, heading, "D_f, test (%)", "D_r, test (%)", paint)


def against_threshold(name: str, panel: Panel, key: str) -> list[str]:
    """Draw D_r minus the retrained model's, D_f and AIN against a numeric key."""
    places = _places(panel.runs[key])
    at = panel.runs[key].map(as_text).map(places)
    difference = panel.runs["D_r"] - panel.runs["retrained D_r"]
    figures = {
        "D_r − retrained D_r": ("D_r − retrained (% points)", difference, 1.0),
        "D_f": ("D_f, test (%)", panel.runs["D_f"], 5.0),
        "AIN": ("AIN (1 is ideal)", panel.runs["AIN"], 0.2),
    }
    charts = []
    for number, (figure, (label, values, least)) in enumerate(figures.items()):

        def paint(
            axes: Axes, figure: str = figure, values: pd.Series = values, least: float = least
        ) -> None:
            _threshold_axis(axes, places)
            asides = _asides(len(panel.groups), places.values())
            for group, aside in zip(panel.groups, asides, strict=True):
                _against(axes, group, values, at, places.get("null"), aside)
            if figure == "D_f":
                _references(axes, panel.groups, "retrained D_f")
            else:
                target = 1.0 if figure == "AIN" else 0.0
                axes.axhline(target, color=FOREGROUND, linestyle=":", linewidth=1.4)
            _room(axes, least, percent=figure == "D_f")

        if values.isna().all():
            continue
        heading = titled(f"{figure} against {key}", panel.title)
        charts.append(chart(f"{name}-{number}", heading, key, label, paint))
    return charts


def _line(
    axes: Axes, curve: pd.DataFrame, style: Style, least: float = -np.inf, most: float = np.inf
) -> None:
    """Draw means, and a band for the interval, cut at the least and the most possible value."""
    axes.plot(
        curve.index,
        curve["mean"],
        color=style.colour,
        linestyle=style.line,
        marker=style.marker,
        markevery=max(1, len(curve) // 12),
    )
    low, high = (np.clip(curve["mean"] + side * curve["half"], least, most) for side in (-1, 1))
    axes.fill_between(curve.index, low, high, color=style.colour, alpha=0.15, linewidth=0)


def _references(axes: Axes, groups: Sequence[Group], figure: str) -> None:
    """Draw the retrained model's mean and interval: one line, or one a group if they differ."""
    known = {group.place: group.runs[figure].dropna() for group in groups}
    known = {place: values for place, values in known.items() if len(values)}
    shared = len({frozenset(values.round(6)) for values in known.values()}) == 1
    for place, values in list(known.items())[: 1 if shared else None]:
        colour = FOREGROUND if shared else STYLES[place].colour
        mean = values.mean()
        axes.axhline(mean, color=colour, linestyle=":", linewidth=1.4)
        if len(values) > 1:
            half = half_width(values.to_numpy())
            axes.axhspan(
                max(0, mean - half), min(100, mean + half), color=colour, alpha=0.08, linewidth=0
            )


def _points(axes: Axes, x: pd.Series, y: pd.Series, style: Style) -> None:
    hollow = style in (ORIGINAL, RETRAINED)  # keeps the points below visible
    axes.scatter(
        x.astype(float),
        y.astype(float),
        s=130 if style is RETRAINED else 32,
        marker=style.marker,
        facecolors="none" if hollow else style.colour,
        edgecolors=style.colour if hollow else "none",
        alpha=1.0 if hollow else 0.75,
        linewidths=1.2,
        rasterized=len(x) > _MANY_POINTS,
    )


def _against(
    axes: Axes, group: Group, values: pd.Series, places: pd.Series, off: float | None, aside: float
) -> None:
    """Draw the means and intervals of a group; `null` (off) stands apart from the line."""
    style = STYLES[group.place]
    data = pd.DataFrame({"place": places, "value": values}).loc[group.runs.index]
    found = means(data, "place")
    numbers = found[found.index != off]
    bars = [(found[found.index == off], "none")]
    if places.nunique() > _MANY_VALUES:
        _line(axes, numbers, style)
    else:
        bars.append((numbers, style.line))
    for part, line in bars:
        axes.errorbar(
            part.index + aside,
            part["mean"],
            yerr=part["half"],
            color=style.colour,
            linestyle=line,
            marker=style.marker,
            capsize=3,
            elinewidth=1.0,
        )


def _asides(groups: int, places: Iterable[float]) -> list[float]:
    """Horizontal offset of each group, which keeps error bars at one value apart."""
    ordered = np.sort(list(places))
    gap = min(np.diff(ordered), default=0.0)
    step = min(0.5 * gap / groups, 0.015 * (ordered[-1] - ordered[0]))
    return [step * (number - (groups - 1) / 2) for number in range(groups)]


def _places(values: pd.Series) -> dict[str, float]:
    """The place of each value on a linear or logarithmic scale, `null` (off) at the right."""
    numbers = {as_text(v): float(v) for v in sorted(values.dropna().unique())}
    lowest, highest = min(numbers.values()), max(numbers.values())
    if lowest > 0 and highest / lowest >= 20:
        numbers = {text: float(np.log10(number)) for text, number in numbers.items()}
        lowest, highest = np.log10(lowest), np.log10(highest)
    if values.isna().any():
        numbers["null"] = highest + _OFF * max(highest - lowest, 0.1)
    return numbers


def _threshold_axis(axes: Axes, places: dict[str, float]) -> None:
    """Set a tick at each value, as far as the labels have room."""
    span = max(places.values()) - min(places.values())
    ticks: dict[str, float] = {}
    for text, place in sorted(places.items(), key=lambda pair: pair[0] != "null"):
        least = 0.03 * (len(text) + 1) * span
        if all(abs(place - other) >= least for other in ticks.values()):
            ticks["off" if text == "null" else text] = place
    axes.set_xticks(list(ticks.values()), list(ticks))
    if "null" in places:
        numbers = [place for text, place in places.items() if text != "null"]
        middle = (max(numbers) + places["null"]) / 2
        axes.axvline(middle, color=FOREGROUND, linewidth=0.6, alpha=0.4)


def _room(axes: Axes, least: float, percent: bool) -> None:
    """Widen the axis to span at least `least`, so that noise does not look like a difference."""
    low, high = axes.get_ylim()
    if high - low < least:
        middle = (low + high) / 2
        low, high = middle - least / 2, middle + least / 2
    if percent:  # move the span into 0 to 100, and cut what remains
        shift = max(0.0, -low) - max(0.0, high - 100)
        low, high = max(0.0, low + shift), min(100.0, high + shift)
    margin = 0.03 * (high - low) if percent else 0
    axes.set_ylim(low - margin, high + margin)


def titled(title: str, panel: str) -> str:
    """A chart's heading: its title, and its panel's, in lines that fit the chart."""
    return "\n".join([title, *textwrap.wrap(panel, 50)])
