"""Which claims of the methods' papers hold here, run by run.

    python scripts/claims.py docs/results/leaderboard_digits.csv

Reads folders of runs, or the lines of `unlearn-report --runs-csv`. A claim is read as two numbers:
the most of D_f that stays, and the most by which D_r is under the retrained model's (percentage
points). The papers' networks and data are others, most of them larger: that a claim does not hold
here says that it does not carry over to these, or to these settings.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from unlearn.errors import exit_on_error
from unlearn.report.formats.markdown import write
from unlearn.report.pivot import format_mean
from unlearn.report.runs import load

_ALL_BUT_FEW = 0.8  # of the runs, in which a claim that holds must hold


@dataclass(frozen=True)
class Claim:
    """What a paper says of its method.

    Args:
        paper: where.
        text: what.
        most: of D_f, percent.
        lost: of D_r under the retrained model's, points.
    """

    paper: str
    text: str
    most: float
    lost: float


_GONE = "the class is gone, the others stay"

CLAIMS = {
    "gkt": Claim(
        "Chundawat et al., TIFS 2023", "D_f 0, D_r 5.2 under retraining at most", 0.5, 5.2
    ),
    "noise": Claim("Chundawat et al., TIFS 2023", "D_f 42 or less; D_r as it comes", 42, 100),
    "ispf": Claim("Zhang et al., AAAI 2025", _GONE, 5, 2),
    "embeddings": Claim("TMLR 2026", _GONE, 5, 2),
    "jit": Claim("arXiv 2402.01401", "D_f 0.1, but D_r 16 under the original", 5, 16),
    "delete": Claim("CVPR 2025", "D_f 3.4, D_r as retrained", 5, 2),
    "boundary_shrink": Claim("CVPR 2023", _GONE, 10, 5),
    "boundary_expand": Claim("CVPR 2023", _GONE, 10, 5),
    "unsir": Claim("Tarun et al., TNNLS 2023", _GONE, 5, 2),
    "amnesiac": Claim("Graves et al., AAAI 2021", _GONE, 5, 2),
    "bad_teacher": Claim("Chundawat et al., AAAI 2023", _GONE, 5, 2),
    "scrub": Claim("Kurmanji et al., NeurIPS 2023", _GONE, 5, 2),
    "ssd": Claim("Foster et al., AAAI 2024", "D_f near 0, D_r within a point", 5, 1),
    "salun": Claim("Fan et al., ICLR 2024", _GONE, 5, 2),
    "subspace": Claim("Kodge et al., TMLR 2024", _GONE, 5, 2),
}


def claims(runs: pd.DataFrame) -> pd.DataFrame:
    """A row a data set, network and method that has a claim and complete runs.

    Args:
        runs: as `runs.load` gives them.

    Returns:
        A frame of text. Figures are means with their 95% confidence interval over seeds, each the
        mean of its classes; a claim holds if four runs of five keep it.
    """
    complete = runs[runs["status"] == "complete"]
    lines = {}
    for (dataset, model, method), own in complete.groupby(["dataset", "model", "method"]):
        claim = CLAIMS.get(str(method))
        if claim is None:
            continue
        gap = own["D_r"] - own["retrained D_r"]
        kept = (own["D_f"] <= claim.most) & (gap >= -claim.lost)
        lines[dataset, model, method] = {
            "paper": claim.paper,
            "claim": claim.text,
            "read as": f"D_f <= {claim.most:g}, D_r >= -{claim.lost:g}",
            "D_f": format_mean(own.groupby("seed")["D_f"].mean()),
            "D_r - retrained": format_mean(gap.groupby(own["seed"]).mean()),
            "runs that keep it": f"{kept.sum()} of {len(own)}",
            "held": "yes" if kept.mean() >= _ALL_BUT_FEW else "no",
        }
    index = pd.MultiIndex.from_tuples(lines, names=["dataset", "model", "method"])
    return pd.DataFrame(list(lines.values()), index=index)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("outputs", type=Path, nargs="+", help="folders of runs, or CSV files")
    arguments = parser.parse_args()
    with exit_on_error("claims"):
        print(write(claims(load(arguments.outputs)), ""), end="")


if __name__ == "__main__":
    main()
