"""A ruled table for the terminal, as wide as it needs to be."""

from __future__ import annotations

import io

import pandas as pd
from rich.console import Console
from rich.table import Table


def write(table: pd.DataFrame, notes: str) -> str:
    """The table and its notes."""
    shown = Table()
    for name in table.index.names:
        shown.add_column(str(name))
    for name in table.columns:
        shown.add_column(name, justify="right")
    for line in table.reset_index().to_numpy():
        shown.add_row(*line)
    out = io.StringIO()
    Console(file=out, width=1000, markup=False, emoji=False).print(shown)
    return out.getvalue() + notes
