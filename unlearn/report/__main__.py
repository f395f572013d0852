"""`unlearn-report`: many runs as a table, and those that failed with the commands to run again."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from unlearn.errors import ConfigError, UnlearnError
from unlearn.report.pivot import pivot
from unlearn.report.runs import FIGURES, check_keys, load, mixed, only
from unlearn.report.write import FORMATS


def report(arguments: argparse.Namespace) -> str:
    """The report as text, the table first.

    Raises:
        ConfigError: naming the option that cannot be used.
    """
    runs = only(load(arguments.outputs), arguments.where)
    for option in ("rows", "columns"):
        check_keys(runs, option, getattr(arguments, option))
    unknown = [name for name in arguments.figures if name not in FIGURES]
    if unknown:
        raise ConfigError("figures", unknown[0], f"allowed are {', '.join(FIGURES)}")
    if arguments.runs_csv is not None:
        shown = ["dataset", "model", "method", "forget", "seed", "status", *FIGURES]
        keys = [key for key in (*arguments.rows, *arguments.columns) if key not in shown]
        runs[[*shown, *keys]].to_csv(arguments.runs_csv, index=False)
    table = pivot(runs, arguments.rows, arguments.columns, arguments.figures)
    text = FORMATS[arguments.format](table)
    if arguments.format in ("terminal", "markdown"):
        text += notes(runs, [*arguments.rows, *arguments.columns])
    return text


def notes(runs: pd.DataFrame, keys: Sequence[str]) -> str:
    """What a reader must know of the table: how it was averaged, what it mixes, what failed."""
    lines = ["", "Mean ± 95% confidence interval (Student's t) over complete runs, test set."]
    differing = mixed(runs, keys)
    if differing:
        lines.append(
            f"Mixed: some cells average runs that differ in {', '.join(differing)}; "
            "name these in --rows or --columns, or choose with --where."
        )
    oracle = (runs["access"] == "oracle").sum()
    if oracle:
        lines.append(f"Oracle: {oracle} runs were steered by real test accuracies.")
    failed = runs[runs["status"] != "complete"]
    if len(failed):
        lines.append(f"Failed: {len(failed)} of {len(runs)} runs. To run them again:")
        for _, run in failed.iterrows():
            command = shlex.join(["unlearn", *(run["command"] or [])])
            lines += [f"  {command}", f"    {run['error']}"]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the command line; exit 2 for the user's mistakes."""
    parser = argparse.ArgumentParser(
        prog="unlearn-report",
        description="Many runs as one table, by any config keys: mean ± 95% confidence interval.",
    )
    parser.add_argument("outputs", type=Path, nargs="+", help="folders that hold run directories")
    rows = _words("dataset,model,method,forget")
    parser.add_argument("--rows", default=rows, type=_words, metavar="KEY,...")
    parser.add_argument(
        "--columns", default=[], type=_words, metavar="KEY,...", help="keys side by side"
    )
    parser.add_argument(
        "--figures",
        default=_words("original D_r,retrained D_r,D_r,D_f,max D_f,AIN,s"),
        type=_words,
        metavar="NAME,...",
        help=f"of {', '.join(FIGURES)}",
    )
    parser.add_argument(
        "--where", action="append", default=[], metavar="KEY=VALUE", help="only these runs"
    )
    parser.add_argument("--format", choices=sorted(FORMATS), default="terminal")
    parser.add_argument("--output", type=Path, help="write to this file instead")
    parser.add_argument("--runs-csv", type=Path, help="also write one line a run to this file")
    arguments = parser.parse_args()
    try:
        text = report(arguments)
    except UnlearnError as error:
        sys.stderr.write(f"unlearn-report: {error}\n")
        sys.exit(2)
    if arguments.output is None:
        sys.stdout.write(text)
    else:
        arguments.output.write_text(text)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


if __name__ == "__main__":
    main()
