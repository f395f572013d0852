"""Print a table of figures: mean ± 95% confidence interval over runs.

Each cell is the mean over the complete runs that agree in the keys of its row and column. The
interval is Student's t. This is the command that is run if none is named.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from unlearn.report import options as shared
from unlearn.report.notes import remarks
from unlearn.report.pivot import pivot


def add_options(parser: ArgumentParser) -> None:
    """Add the options of the command."""
    names = ["--where", "--rows", "--columns", "--figures", "--format", "--output", "--runs-csv"]
    shared.add(parser, "outputs", *names)


def run(options: Namespace) -> str:
    """The table as text."""
    keys = [*options.rows, *options.columns]
    runs = shared.read_runs(options, "rows", "columns")
    shared.write_runs(runs, options, keys)
    table = pivot(runs, options.rows, options.columns, options.figures)
    return shared.format_table(table, remarks(runs, keys), runs, options)
