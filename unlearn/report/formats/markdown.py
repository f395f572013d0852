"""A Markdown table."""

from __future__ import annotations

import pandas as pd

from unlearn.escape import markdown


def write(table: pd.DataFrame, notes: str) -> str:
    """The table and its notes, in which the lines of commands and errors are code blocks."""
    flat = table.reset_index()
    lines = [flat.columns, ["---"] * flat.shape[1], *flat.to_numpy()]
    cells = (" | ".join(map(markdown, line)) for line in lines)
    text = "".join(f"| {line} |\n" for line in cells)
    before = ""
    for line in notes.splitlines():
        code = line.startswith("  ")
        text += "\n" if code and not before.startswith("  ") else ""
        text += (f"  {line}" if code else markdown(line)) + "\n"
        before = line
    return text
