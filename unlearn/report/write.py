"""A pivoted table as text: for the terminal, Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

import pandas as pd
from rich.console import Console
from rich.table import Table


def terminal(table: pd.DataFrame) -> str:
    """A ruled table as wide as it needs."""
    shown = Table(show_lines=False)
    for index, heading in enumerate(headings(table)):
        shown.add_column(heading, justify="left" if index < table.index.nlevels else "right")
    for line in lines_of(table):
        shown.add_row(*line)
    out = io.StringIO()
    Console(file=out, width=1000).print(shown)
    return out.getvalue()


def markdown(table: pd.DataFrame) -> str:
    """A Markdown table."""
    lines = [headings(table), ["---"] * len(headings(table)), *lines_of(table)]
    cells = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join("| " + " | ".join(line) + " |" for line in cells) + "\n"


def latex(table: pd.DataFrame) -> str:
    """A booktabs tabular; needs \\usepackage{booktabs}."""
    flat = pd.DataFrame(lines_of(table), columns=headings(table))
    text: str = flat.to_latex(index=False, escape=True)
    return text.replace("±", "$\\pm$").replace("†", "$^\\dagger$")


def comma_separated(table: pd.DataFrame) -> str:
    """CSV with one heading line."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerows([headings(table), *lines_of(table)])
    return out.getvalue()


FORMATS: dict[str, Callable[[pd.DataFrame], str]] = {
    "terminal": terminal,
    "markdown": markdown,
    "latex": latex,
    "csv": comma_separated,
}


def headings(table: pd.DataFrame) -> list[str]:
    """One heading a column, the rows' keys first."""
    columns = table.columns.to_flat_index()
    names = [c if isinstance(c, str) else " ".join(map(str, c)) for c in columns]
    return [*map(str, table.index.names), *names]


def lines_of(table: pd.DataFrame) -> list[list[str]]:
    """The cells line by line, the rows' values first."""
    return [
        [*map(str, index), *map(str, row)]
        for index, row in zip(table.index, table.to_numpy(), strict=True)
    ]
