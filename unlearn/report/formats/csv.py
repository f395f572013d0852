"""CSV with one line of headings."""

from __future__ import annotations

import pandas as pd

from unlearn.escape import csv_cell


def write(table: pd.DataFrame, notes: str) -> str:
    """The table, without its notes."""
    return table.reset_index().map(csv_cell).to_csv(index=False, lineterminator="\n")
