"""Pictures of the frontier: lines of points, and the region where retrained models lie."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from unlearn.report.charts import titled
from unlearn.report.frontier import Against, Region, points, region, retrained
from unlearn.report.groups import Panel, Panels
from unlearn.report.svg import FOREGROUND, GREY, RETRAINED, STYLES, Style, chart, standalone

_Boxes = NDArray[np.float64]  # left, bottom, right and top of each, pixels
_Y = "D_r − retrained D_r (% points)"
# Offsets of a label from its point, the best first (points).
_OFFSETS = [(5, 4), (-5, 4), (5, -10), (-5, -10), (0, 6), (0, -13), (7, -3), (-7, -3)]
# The axis of D_r is linear within this many percentage points of the retrained model's D_r and
# logarithmic beyond: large losses and the region around it are visible together.
_LINEAR = 1.0
_TICKS = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
_LABEL = 7.5  # font size of the labels, points
_WIDTH, _HEIGHT = 8.3, 5.2  # inches: about 800 pixels in a browser
_LINE_OF_TEXT = 135
_LINE_OF_LEGEND = 105  # characters
_MOST_LABELS = 40  # values of a line that get a label; of more, some that lie evenly among them
_MARK = 6  # width of a sample line beside its label, characters
_WIDE = 2  # this many panels have room for a whole label


def one_panel(name: str, panel: Panel, key: str, against: Against) -> str:
    """Draw one panel for the page: a point for each value of the key, and the target region."""

    def paint(axes: Axes) -> None:
        _finished(axes, _drawn(axes, panel, key, against))

    title = titled(f"D_r against {against.name} along {key}", panel.title)
    return chart(name, title, against.label, _Y, paint)


def picture(
    drawn: Panels, key: str, against: Sequence[Against], title: str, notes: Sequence[str]
) -> str:
    """Draw an SVG file with the panels side by side, a legend and a caption.

    Args:
        drawn: panels and groups, as `groups.panels` gives them.
        key: config key whose values are the points of a line.
        against: figures for the horizontal axis; each panel is drawn once for each of them.
        title: of the picture.
        notes: sentences at the end of the caption.
    """
    words = " ".join([caption(drawn, key, against), *drawn.limits(), *notes])
    text = "\n".join(textwrap.wrap(words, _LINE_OF_TEXT))

    def compose(figure: Figure) -> None:
        figure.supxlabel(text, x=0.01, ha="left", fontsize=8, linespacing=1.4)
        charts = [(panel, other) for panel in drawn.drawn for other in against]
        shared = figure.subplots(1, len(charts), sharey=True, squeeze=False)[0]
        handles = list(_handles(drawn))
        figure.legend(
            title=title,
            alignment="left",
            title_fontsize=11,
            handles=handles,
            loc="outside upper left",
            ncols=legend_columns([str(handle.get_label()) for handle in handles]),
            frameon=False,
        )
        shared[0].set_ylabel(_Y)
        painted = []
        for axes, (panel, other) in zip(shared, charts, strict=True):
            label = other.label if len(shared) <= _WIDE else other.name
            axes.set(xlabel=label, title=panel.title)
            axes.grid(color=GREY, alpha=0.25, linewidth=0.6)
            painted.append(_drawn(axes, panel, key, other))
        for axes, lines in zip(shared, painted, strict=True):
            _finished(axes, lines)

    return standalone("frontier", title, (_WIDTH, _HEIGHT + 0.15 * text.count("\n")), compose)


def legend_columns(labels: Sequence[str]) -> int:
    """The number of columns into which labels fit, at most four."""
    for count in (4, 3, 2):
        columns = np.array_split([len(label) + _MARK for label in labels], min(count, len(labels)))
        if sum(column.max() for column in columns) <= _LINE_OF_LEGEND:
            return count
    return 1


def caption(drawn: Panels, key: str, against: Sequence[Against]) -> str:
    """Sentences on what the picture shows."""
    ratios = [other for other in against if other.ratio]
    geometric = f" (of {ratios[0].name}, the geometric mean)" if ratios else ""
    text = (
        f"A label is a value of {key}; at it, the mean over runs and its 95% confidence interval"
        f"{geometric}. Whiskers end at the frame. D_r's axis is logarithmic beyond ±{_LINEAR:g}. "
    )
    models = sum(len(retrained(panel.runs, against[0])) for panel in drawn.drawn)
    if models:
        text += (
            f"Stars: {models} retrained models, each against the mean of the others of its classes "
            "over seeds; shaded: ±1.96 standard deviations of these. "
        )
    groups = [group for panel in drawn.drawn for group in panel.groups]
    if any(points(g.runs, key, other)["bound"].any() for g in groups for other in ratios):
        text += "Hollow: a count hit its limit, so that AIN is a lower bound. "
    return text.strip()


def _drawn(axes: Axes, panel: Panel, key: str, against: Against) -> dict[int, pd.DataFrame]:
    """Draw everything that determines the frame; return the points of each group by its place."""
    axes.margins(0.08, 0.1)
    axes.set_xscale("log" if against.ratio else "linear")
    axes.set_yscale("symlog", linthresh=_LINEAR, linscale=0.8)
    models = retrained(panel.runs, against)
    _target(axes, models, region(models, against), against.aim)
    lines = {group.place: points(group.runs, key, against) for group in panel.groups}
    for place, line in lines.items():
        _line(axes, line, STYLES[place])
    _ticks(axes, against.ratio)
    axes.autoscale_view()
    return lines


def _target(axes: Axes, models: pd.DataFrame, target: Region | None, aim: float) -> None:
    axes.axvline(aim, color=FOREGROUND, linestyle=":", linewidth=1)
    axes.axhline(0, color=FOREGROUND, linestyle=":", linewidth=1)
    if target is not None:
        sides = [target.low, target.high]
        axes.axvspan(*sides, color=FOREGROUND, alpha=0.05, linewidth=0)
        axes.axhspan(-target.margin, target.margin, color=FOREGROUND, alpha=0.05, linewidth=0)
        axes.fill_between(
            sides, -target.margin, target.margin, color=FOREGROUND, alpha=0.12, linewidth=0
        )
    axes.scatter(
        models["x"], models["difference"], s=16, marker="*", color=FOREGROUND, alpha=0.45,
        linewidths=0,
    )  # fmt: skip


def _line(axes: Axes, line: pd.DataFrame, style: Style) -> None:
    axes.plot(line["x"], line["difference"], color=style.colour, linestyle=style.line)
    for bound, part in line.groupby("bound"):
        axes.plot(
            part["x"],
            part["difference"],
            color=style.colour,
            linestyle="none",
            marker=style.marker,
            fillstyle="none" if bound else "full",
        )


def _whiskers(axes: Axes, line: pd.DataFrame, style: Style) -> None:
    axes.errorbar(
        line["x"],
        line["difference"],
        xerr=[line["x"] - line["low"], line["high"] - line["x"]],
        yerr=line["half"],
        color=style.colour,
        linestyle="none",
        capsize=2,
        elinewidth=0.9,
        alpha=0.55,
        zorder=1.5,
    )


def _ticks(axes: Axes, ratio: bool) -> None:
    """Label 1, 2 and 5 times each power of ten, and half a point of D_r, with plain numbers."""
    if ratio:
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_locator(FixedLocator([side * at for at in _TICKS for side in (-1, 1)]))
    for axis, form in ((axes.xaxis, "{:g}"), (axes.yaxis, "{:+g}")):
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _, form=form: _number(form, value)))


def _number(form: str, value: float) -> str:
    return "0" if value == 0 else form.format(value).replace("-", "−")


def _places(line: pd.DataFrame) -> Iterator[tuple[float, float]]:
    return zip(line["x"], line["difference"], strict=True)


def _boxes(axes: Axes, line: pd.DataFrame) -> Iterator[Bbox]:
    """Boxes, in pixels, of the points, their whiskers and the line between them."""
    ends = axes.transData.transform(list(_places(line)))
    for begin, end in pairwise(ends):
        for share in np.linspace(0, 1, 30):
            x, y = begin + share * (end - begin)
            yield Bbox.from_bounds(x, y, 2, 2)
    for _, at in line.iterrows():
        yield _at(axes, at["x"], at["difference"], 6, 6)
        if not np.isnan(at["half"]):
            across = [(at["low"], at["difference"]), (at["high"], at["difference"])]
            along = [(at["x"], at["difference"] + side * at["half"]) for side in (-1, 1)]
            for whisker in (across, along):
                yield Bbox(axes.transData.transform(whisker)).padded(1)


def _finished(axes: Axes, lines: Mapping[int, pd.DataFrame]) -> None:
    """Add whiskers and labels, which must not change the frame that all panels share."""
    axes.autoscale(False)  # the whiskers of two runs can span decades
    for place, line in lines.items():
        _whiskers(axes, line, STYLES[place])
    _root(axes).draw_without_rendering()  # determines where the points are
    few = [
        line.iloc[np.linspace(0, len(line) - 1, min(len(line), _MOST_LABELS)).astype(int)]
        for line in lines.values()
    ]
    taken = np.array([box.extents for line in few for box in _boxes(axes, line)])
    for line in few:
        taken = _labels(axes, line, taken)


def _root(axes: Axes) -> Figure:
    figure = axes.get_figure(root=True)
    assert figure is not None
    return figure


def _labels(axes: Axes, line: pd.DataFrame, taken: _Boxes) -> _Boxes:
    """Write each value beside its point, where it covers the least; return all that is taken."""
    for value, (x, y) in zip(line.index, _places(line), strict=True):
        if value == "null" and len(line) == 1:
            continue  # the method does not have the key
        text = "off" if value == "null" else value
        size = (0.62 * _LABEL * len(text), _LABEL)
        spots = [_at(axes, x, y, *size, dx, dy) for dx, dy in _OFFSETS]
        best = min(range(len(spots)), key=lambda n: _covered(spots[n], taken))
        taken = np.vstack([taken, spots[best].extents])
        dx, dy = _OFFSETS[best]
        axes.annotate(
            text,
            (x, y),
            (dx, dy),
            textcoords="offset points",
            ha=("right", "center", "left")[np.sign(dx) + 1],
            fontsize=_LABEL,
            in_layout=False,
        )
    return taken


def _at(
    axes: Axes, x: float, y: float, width: float, height: float, dx: float = 0, dy: float = 0
) -> Bbox:
    """The box, in pixels, of a text or marker beside a point of the data; sizes in points."""
    scale = _root(axes).dpi / 72
    left, bottom = axes.transData.transform((x, y)) + np.array([dx, dy]) * scale
    left -= (width * scale) * {-1: 1.0, 0: 0.5, 1: 0.0}[int(np.sign(dx))]
    if dx == dy == 0:
        bottom -= height * scale / 2
    return Bbox.from_bounds(left, bottom, width * scale, height * scale)


def _covered(spot: Bbox, taken: _Boxes) -> float:
    """The area of a box, in square pixels, that others cover, counted once for each of them."""
    sides = np.minimum(spot.max, taken[:, 2:]) - np.maximum(spot.min, taken[:, :2])
    areas = np.where((sides > 0).all(axis=1), sides[:, 0] * sides[:, 1], 0)
    return float(areas.cumsum()[-1])


def _handles(drawn: Panels) -> Iterator[Line2D]:
    models = replace(RETRAINED, line="none"), "retrained models (shaded: 95% of them)"
    for style, label in [*zip(STYLES, drawn.labels, strict=False), models]:
        look: dict[str, Any] = {"marker": style.marker, "linestyle": style.line}
        yield Line2D([], [], color=style.colour, label=label, **look)
