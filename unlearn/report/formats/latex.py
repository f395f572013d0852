r"""A LaTeX tabular; needs \usepackage{booktabs}."""

from __future__ import annotations

import pandas as pd


def write(table: pd.DataFrame, notes: str) -> str:
    """The table, without its notes."""
    text: str = table.reset_index().to_latex(index=False, escape=True)
    text = text.replace("\n[", "\n{}[")  # after \\ a bracket begins an argument
    return text.replace("±", "$\\pm$").replace("†", "$^\\dagger$")
