"""A Markdown table."""

from __future__ import annotations

import pandas as pd


def write(table: pd.DataFrame, notes: str) -> str:
    """The table and its notes."""
    flat = table.reset_index()
    lines = [flat.columns, ["---"] * flat.shape[1], *flat.to_numpy()]
    cells = (" | ".join(cell.replace("|", "\\|") for cell in line) for line in lines)
    return "".join(f"| {line} |\n" for line in cells) + notes
