"""Print which claims of the methods' papers hold in our runs.

    python scripts/claims.py docs/results/leaderboard_digits.csv

The input is a folder of runs, or a CSV file of `unlearn-report --runs-csv`. A claim is read as two
limits: the largest D_f, and the largest loss of D_r against the retrained model, in percentage
points. The papers use other networks and data, most of them larger. A claim that does not hold here
does not transfer to these networks, data or settings.
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

_ALL_BUT_FEW = 0.8  # share of the runs that must keep a claim for it to hold


@dataclass(frozen=True)
class Claim:
    """A claim of a paper about its method.

    Args:
        paper: the paper.
        text: the claim in words.
        most: the largest D_f, percent.
        lost: the largest difference of the retrained model's D_r and D_r, percentage points.
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
    """Check the claims of all methods that have complete runs.

    Args:
        runs: as `runs.load` gives them.

    Returns:
        A frame of text with a row for each data set, network and method. Figures are means over
        seeds with their 95% confidence interval, each the mean over its classes. A claim holds if
        four of five runs keep it.
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
