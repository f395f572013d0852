"""What a setting changes: runs paired with those that differ from them in one key alone.

    python scripts/paired.py docs/results/entropy.csv filter.entropy null

Reads the lines of `unlearn-report --runs-csv`. Differences are averaged over forget classes for
each seed, since runs of one seed share their teacher; the interval is over seeds.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from unlearn.errors import ConfigError, exit_on_error
from unlearn.report.pivot import interval
from unlearn.report.runs import as_text, check_keys, load

_PAIRED_BY = ["dataset", "model", "method", "forget", "seed"]
_FIGURES = ["D_r", "D_f", "AIN"]


def differences(runs: pd.DataFrame, key: str, baseline: str) -> pd.DataFrame:
    """Mean ± 95% confidence interval of figure(value) - figure(baseline), a row a value.

    Raises:
        ConfigError: if no record has the key or no complete run the baseline, or two complete runs
            of one value cannot be told apart.
    """
    check_keys(runs, "key", [key])
    complete = runs[runs["status"] == "complete"]
    if complete.duplicated([*_PAIRED_BY, key]).any():
        raise ConfigError("key", key, f"runs of one differ in more than {', '.join(_PAIRED_BY)}")
    by_value = {
        as_text(value): group.set_index(_PAIRED_BY)[_FIGURES]
        for value, group in complete.groupby(key, dropna=False)
    }
    if baseline not in by_value:
        raise ConfigError(key, baseline, f"no run has it; there are {', '.join(sorted(by_value))}")
    found = {}
    for value, figures in by_value.items():
        if value != baseline:
            change = (figures - by_value[baseline]).dropna(how="all")
            seeds = change.groupby("seed").mean()
            found[value] = {name: interval(seeds[name]) for name in _FIGURES} | {
                "pairs": str(len(change)),
                "D_r higher in": str(int((change["D_r"] > 0).sum())),
            }
    return pd.DataFrame.from_dict(found, orient="index").rename_axis(key)


def main() -> None:
    """Print one line for each value of the key."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, help="written by unlearn-report --runs-csv")
    parser.add_argument("key", help="the config key that differs")
    parser.add_argument("baseline", help="its value to compare with; null is off")
    arguments = parser.parse_args()
    with exit_on_error("paired"):
        found = differences(load([arguments.runs]), arguments.key, arguments.baseline)
        print(found.to_string())


if __name__ == "__main__":
    main()
