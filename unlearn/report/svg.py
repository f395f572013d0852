"""matplotlib charts as SVG with real text, inside a page or as a file of their own."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

# Placeholder that is replaced by `currentColor`: text differs in light and in dark mode.
FOREGROUND = "#010203"
GREY = "#8a8a8a"
_RC: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "unlearn",
    "text.parse_math": False,
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
    **dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"),
        FOREGROUND,
    ),
}


_GROUND = """<style>
svg { color: #1d2024; font-family: system-ui, "Liberation Sans", Arial, sans-serif; }
.ground { fill: #ffffff; }
@media (prefers-color-scheme: dark) { svg { color: #e4e7eb; } .ground { fill: #16181b; } }
</style>
<rect class="ground" width="100%" height="100%"/>
"""


@dataclass(frozen=True)
class Style:
    """Colour, marker and line of a group."""

    colour: str
    marker: str
    line: str


# The colour-blind safe palette of Okabe and Ito without yellow and black, and a grey. No line is
# dotted: that is the retrained model's.
STYLES = (
    Style("#0072B2", "o", "-"),
    Style("#D55E00", "s", "--"),
    Style("#009E73", "^", "-."),
    Style("#CC79A7", "D", "-"),
    Style("#E69F00", "v", "--"),
    Style("#56B4E9", "P", "-."),
    Style("#7F7F7F", "X", "-"),
)
RETRAINED = Style(FOREGROUND, "*", ":")
ORIGINAL = Style(FOREGROUND, "s", "none")
OTHERS = Style(GREY, ".", "none")


def chart(name: str, title: str, x: str, y: str, paint: Callable[[Axes], None]) -> str:
    """Draw a chart as an SVG element.

    Args:
        name: prefix of the ids in it, unique in the page.
        title: shown above the axes and read by a screen reader.
        x: label of the horizontal axis, with the unit.
        y: label of the vertical axis, with the unit.
        paint: draws into the axes.
    """
    with rc_context(_RC):
        figure = Figure(figsize=(4.2, 3.1), layout="constrained")
        axes = figure.subplots()
        axes.set(title=title, xlabel=x, ylabel=y)
        axes.grid(color=GREY, alpha=0.25, linewidth=0.6)
        paint(axes)
        return _inline(figure, name, title)


def standalone(
    name: str, title: str, size: tuple[float, float], compose: Callable[[Figure], None]
) -> str:
    """Draw an SVG file with a background that is light or dark as the reader prefers.

    Args:
        name: prefix of the ids in it.
        title: read by a screen reader.
        size: width and height, inches.
        compose: draws into the figure.
    """
    with rc_context(_RC):
        figure = Figure(figsize=size, layout="constrained")
        compose(figure)
        text = _inline(figure, name, title)
    opening, rest = text.split(">", 1)
    return f"{opening}>\n{_GROUND}{rest}"


def swatch(name: str, style: Style) -> str:
    """Draw a line with its marker as an SVG element, for a legend."""
    with rc_context(_RC):
        figure = Figure(figsize=(0.5, 0.18))
        look: dict[str, Any] = {"color": style.colour, "marker": style.marker}
        fill = "none" if style.colour == FOREGROUND else "full"
        look |= {"linestyle": style.line, "fillstyle": fill}
        figure.add_artist(Line2D([0.05, 0.5, 0.95], [0.5] * 3, markevery=[1], **look))
        return _inline(figure, name, "")


def _inline(figure: Figure, name: str, title: str) -> str:
    out = io.StringIO()
    empty = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(out, format="svg", transparent=True, dpi=150, metadata=empty)
    text = out.getvalue()
    text = text[text.index("<svg") :].replace(FOREGROUND, "currentColor")
    text = re.sub(r"<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r"font-family: [^;\"]*", "font-family: inherit", text)
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"<[^>]+>", _rounded, text)
    label = f'role="img" aria-label="{escape(" ".join(title.split()))}"'
    spoken = label if title else 'aria-hidden="true"'
    return text.replace("<svg ", f"<svg {spoken} ", 1)


def _rounded(tag: re.Match[str]) -> str:
    """A tag with coordinates rounded to 0.01 points, which halves the size of the file."""
    return re.sub(r"(\d\.\d\d)\d+", r"\1", tag[0])
