"""Compare runs in pairs that differ in one key only.

Differences are averaged over the forget classes of each seed, since runs of one seed share their
teacher. The 95% confidence interval (Student's t) is over seeds.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

import pandas as pd

from unlearn.errors import ConfigError
from unlearn.report import options as shared
from unlearn.report.notes import remarks
from unlearn.report.pivot import format_mean, natural
from unlearn.report.runs import as_text, check_keys

_PAIRED_BY = ["dataset", "model", "method", "forget", "seed"]
_SAID = (
    "Difference from the baseline (against) ± 95% confidence interval (Student's t) over seeds, "
    "each the mean over its forget classes; complete runs, test set."
)


def add_options(parser: ArgumentParser) -> None:
    """Add the options of the command."""
    shared.add(parser, "outputs", "--where")
    parser.add_argument(
        "--key",
        required=True,
        metavar="KEY=BASELINE",
        help="the config key that differs, and the value to compare the others with (null: off)",
    )
    shared.add(parser, "--figures", default="D_r,D_f,AIN")
    shared.add(parser, "--format", "--output", "--runs-csv")


def run(options: Namespace) -> str:
    """The table as text."""
    key, sign, baseline = options.key.partition("=")
    if not sign:
        raise ConfigError("key", options.key, "must be KEY=BASELINE")
    runs = shared.read_runs(options)
    shared.write_runs(runs, options, [key])
    table = differences(runs, key, baseline, options.figures)
    return shared.format_table(table, remarks(runs, [*_PAIRED_BY, key], _SAID), runs, options)


def differences(runs: pd.DataFrame, key: str, baseline: str, figures: list[str]) -> pd.DataFrame:
    """Mean differences of figures from those at the baseline, a row for each other value.

    Args:
        runs: as `runs.load` gives them.
        key: the config key that differs within a pair.
        baseline: its value to compare the others with, as `as_text` writes it.
        figures: columns of the runs.

    Returns:
        A frame of text with the index `key`, `level`, `against`: the number of `pairs`, each
        figure's difference with its interval, and in how many pairs the first figure is higher.

    Raises:
        ConfigError: if no complete run has the baseline, or two runs of one value cannot be told
            apart.
    """
    check_keys(runs, "key", [key])
    complete = runs[runs["status"] == "complete"]
    if complete.duplicated([*_PAIRED_BY, key]).any():
        raise ConfigError("key", key, f"runs of one differ in more than {', '.join(_PAIRED_BY)}")
    by_value = {
        as_text(value): group.set_index(_PAIRED_BY)[figures]
        for value, group in complete.groupby(key, dropna=False)
    }
    if baseline not in by_value:
        allowed = ", ".join(sorted(by_value))
        raise ConfigError(
            "key", f"{key}={baseline}", f"no complete run has it; allowed are {allowed}"
        )
    found = {}
    for value in sorted(by_value.keys() - {baseline}, key=lambda text: natural([text])):
        change = (by_value[value] - by_value[baseline]).dropna(how="all")
        seeds = change.groupby("seed").mean()
        found[key, value, baseline] = {
            "pairs": str(len(change)),
            **{name: format_mean(seeds[name]) for name in figures},
            f"{figures[0]} higher in": str(int((change[figures[0]] > 0).sum())),
        }
    index = pd.MultiIndex.from_tuples(found, names=["key", "level", "against"])
    return pd.DataFrame(list(found.values()), index)
