"""matplotlib's charts as SVG, for a page in its font and colour, or alone: with real text."""

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

# Stands for the page's own colour of text, which differs in the light and in the dark.
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
    """A colour that the colour-blind can tell, with a marker and a line of its own."""

    colour: str
    marker: str
    line: str


# The palette of Okabe and Ito, less its yellow and black, and a grey; no line is dotted, which is
# the retrained model's.
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
    """An SVG element.

    Args:
        name: unique in the page.
        title: above the axes, and what a screen reader says.
        x: label of the axis, with the unit.
        y: the same.
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
    """An SVG file that brings its own ground, light or dark as its reader prefers.

    Args:
        name: before the ids in it.
        title: what a screen reader says.
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
    """An SVG element with a line and its marker, for a legend."""
    with rc_context(_RC):
        figure = Figure(figsize=(0.5, 0.18))
        look: dict[str, Any] = {
            "color": style.colour,
            "marker": style.marker,
            "linestyle": style.line,
            "fillstyle": "none" if style.colour == FOREGROUND else "full",
        }
        line = Line2D([0.05, 0.5, 0.95], [0.5] * 3, markevery=[1], **look)
        figure.add_artist(line)
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
    spoken = (
        f'role="img" aria-label="{escape(" ".join(title.split()))}"'
        if title
        else 'aria-hidden="true"'
    )
    return text.replace("<svg ", f"<svg {spoken} ", 1)


def _rounded(tag: re.Match[str]) -> str:
    """The tag with its coordinates to a hundredth of a point, which is half the size."""
    return re.sub(r"(\d\.\d\d)\d+", r"\1", tag[0])
