"""The report as one self-contained HTML page: table, charts, pictures, failed runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader

from unlearn.report.examples import MOST_EXAMPLES, examples
from unlearn.report.figures import unit_of
from unlearn.report.groups import panels
from unlearn.report.notes import missing
from unlearn.report.sections import PageSettings, sections
from unlearn.report.sweeps import folded

# The page lists this many missing runs at most; the terminal lists all of them.
MOST_MISSING = 100


def page(
    runs: pd.DataFrame, table: pd.DataFrame, remarks: Sequence[str], wanted: PageSettings
) -> str:
    """The page as text.

    Args:
        runs: as `runs.load` gives them.
        table: as `pivot.pivot` or `leaderboard.leaderboard` makes it of the runs.
        remarks: sentences on the table.
        wanted: what to show beside it.
    """
    drawn = panels(runs, wanted.rows, wanted.columns)
    shown = examples(drawn.drawn)
    lost = {status: missing(runs, status) for status in ("failed", "unfinished")}
    environment = Environment(
        loader=PackageLoader("unlearn.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        title=wanted.title,
        command=wanted.command,
        counts=runs["status"].value_counts().to_dict(),
        table=_table(table, runs),
        remarks=remarks,
        sweeps=folded(list(runs["command"])),
        sections=sections(runs, drawn, wanted),
        examples=shown,
        most_examples=MOST_EXAMPLES,
        examples_sweeps=folded([example.command for example in shown]),
        lost={status: found[:MOST_MISSING] for status, found in lost.items()},
        lost_counts={status: len(found) for status, found in lost.items()},
        version=version("unlearn"),
        date=f"{datetime.now(UTC):%Y-%m-%d}",
    )


def _table(table: pd.DataFrame, runs: pd.DataFrame) -> dict[str, Any]:
    """Headings with their units, lines, and the blocks with their widths if there are any."""
    several = table.columns.nlevels > 1
    figures = table.columns.get_level_values(-1)
    return {
        "keys": table.index.names,
        "blocks": Counter(table.columns.get_level_values(0)) if several else {},
        "figures": [(name, unit_of(runs, name)) for name in figures],
        "lines": [
            [*index, *line] for index, line in zip(table.index, table.to_numpy(), strict=True)
        ],
    }
