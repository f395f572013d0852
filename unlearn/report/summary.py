"""Many runs as one table: mean and 95% confidence interval over whatever is not named."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from scipy import stats

FIGURES = (
    "original D_r",
    "retrained D_r",
    "D_r",
    "D_f",
    "max D_f",
    "relearn",
    "retrained relearn",
    "AIN",
    "MIA",
    "retrained MIA",
    "s",
)


def row(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a table shows of one record: who it is, and its test figures."""
    accuracy, relearn = record["accuracy"], record["relearn"]
    return {
        "status": record["status"],
        "dataset": record["dataset"],
        "model": record["model"],
        "method": record["method"],
        "forget": ",".join(map(str, record["forget"])),
        "seed": record["seed"],
        "original D_r": accuracy["original"]["test"]["retain"],
        "retrained D_r": accuracy["retrained"]["test"]["retain"],
        "D_r": accuracy["unlearned"]["test"]["retain"],
        "D_f": accuracy["unlearned"]["test"]["forget"],
        "max D_f": record["onset"]["largest"],
        "relearn": relearn["unlearned_steps"],
        "retrained relearn": relearn["retrained_steps"],
        "AIN": relearn["ain"],
        "MIA": record["membership"]["unlearned"]["auc"],
        "retrained MIA": record["membership"]["retrained"]["auc"],
        "s": record["seconds"]["unlearn"],
    }


def collect(outputs: Path) -> pd.DataFrame:
    """One row for every record under a folder, the hidden ones of unfinished runs left out."""
    paths = sorted(outputs.rglob("record.json"))
    shown = [p for p in paths if not any(part.startswith(".") for part in p.parts[-2:])]
    return pd.DataFrame([row(json.loads(path.read_text())) for path in shown])


def interval(values: pd.Series[float]) -> str:
    """Mean ± 95% confidence interval of Student's t over the runs that have the figure."""
    known = values.dropna().astype(float)
    if len(known) < 2:
        return "-" if known.empty else f"{known.iloc[0]:.2f}"
    half = stats.t.ppf(0.975, len(known) - 1) * known.std() / math.sqrt(len(known))
    few = f" ({len(known)} of {len(values)})" if len(known) < len(values) else ""
    return f"{known.mean():.2f} ± {half:.2f}{few}"


def markdown(runs: pd.DataFrame, by: Sequence[str]) -> str:
    """A Markdown table of complete runs, grouped, with the number of failed ones beside it."""
    lines = [[*by, "runs", "failed", *FIGURES]]
    for key, group in runs.groupby(list(by), sort=False):
        complete = group[group["status"] == "complete"]
        counts = [str(len(complete)), str(len(group) - len(complete))]
        lines.append([*map(str, key), *counts, *(interval(complete[name]) for name in FIGURES)])
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
