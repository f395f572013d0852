"""Print the runs under a folder as a Markdown table of mean ± 95% confidence interval.

python scripts/summary.py outputs/digits-allcnn --by method
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from unlearn.report.summary import collect, markdown


def main() -> None:
    """Read records, group them, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("outputs", type=Path)
    parser.add_argument("--by", nargs="+", default=["dataset", "model", "method", "forget"])
    parser.add_argument("--csv", type=Path, help="also write one line a run to this file")
    arguments = parser.parse_args()
    runs = collect(arguments.outputs)
    if runs.empty:
        sys.exit(f"{arguments.outputs}: holds no record.json")
    if arguments.csv is not None:
        runs.to_csv(arguments.csv, index=False)
    print(markdown(runs, arguments.by))


if __name__ == "__main__":
    main()
