"""`unlearn-report`: many runs as a table or a page, with the failed ones to run again."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from unlearn.errors import ConfigError, UnlearnError
from unlearn.report.notes import as_lines
from unlearn.report.pivot import pivot
from unlearn.report.runs import FIGURES, check_keys, load, only, referenced
from unlearn.report.write import FORMATS

_PAGE = "html"
_TITLE = "Unlearning report"


def report(arguments: argparse.Namespace, command: str) -> str:
    """The report as text, the table first.

    Args:
        arguments: of the command line.
        command: itself, for the page to show.

    Raises:
        ConfigError: naming the option that cannot be used.
    """
    _check(arguments)
    runs = only(load(arguments.outputs), arguments.where)
    for option in ("rows", "columns", "curve"):
        check_keys(runs, option, getattr(arguments, option))
    if arguments.runs_csv is not None:
        _write_runs(runs, arguments)
    if arguments.format == _PAGE:
        return _page(runs, arguments, command)
    table = pivot(runs, arguments.rows, arguments.columns, arguments.figures)
    text = FORMATS[arguments.format](table)
    if arguments.format in ("terminal", "markdown"):
        text += as_lines(runs, [*arguments.rows, *arguments.columns])
    return text


def _check(arguments: argparse.Namespace) -> None:
    unknown = [name for name in arguments.figures if name not in FIGURES]
    if unknown:
        raise ConfigError("figures", unknown[0], f"allowed are {', '.join(FIGURES)}")
    if not arguments.rows:
        raise ConfigError("rows", "", "must name a key")
    if arguments.format == _PAGE:
        if arguments.output is None:
            raise ConfigError("output", None, "must name a file for --format html")
        return
    for option, unset in (("curve", []), ("title", _TITLE)):
        if getattr(arguments, option) != unset:
            shown = getattr(arguments, option)
            value = ",".join(shown) if isinstance(shown, list) else shown
            raise ConfigError(option, value, "is for --format html")


def _page(runs: pd.DataFrame, arguments: argparse.Namespace, command: str) -> str:
    from unlearn.report.page import Wanted, page
    from unlearn.report.sections import numeric, swept

    complete = runs[runs["status"] == "complete"]
    words = [key for key in arguments.curve if not numeric(complete, key)]
    if words:
        raise ConfigError("curve", words[0], "holds no numbers in the complete runs")
    keys = [*arguments.rows, *arguments.columns]
    curves = [*arguments.curve, *(k for k in swept(runs, keys) if k not in arguments.curve)]
    table = pivot(runs, arguments.rows, arguments.columns, referenced(arguments.figures))
    wanted = Wanted(arguments.rows, arguments.columns, curves, arguments.title, command)
    return page(runs, table, wanted)


def _write_runs(runs: pd.DataFrame, arguments: argparse.Namespace) -> None:
    """One line a run."""
    shown = ["dataset", "model", "method", "access", "forget", "seed", "status", *FIGURES]
    keys = [key for key in (*arguments.rows, *arguments.columns) if key not in shown]
    _write("runs-csv", arguments.runs_csv, runs[[*shown, *keys]].to_csv(index=False))


def _write(option: str, path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(option, path, f"cannot be written ({error.strerror})") from error


def main(words: Sequence[str] | None = None) -> None:
    """Run the command line, or these words in its place; exit 2 for the user's mistakes."""
    parser = argparse.ArgumentParser(
        prog="unlearn-report",
        description="Many runs as a table or page by any keys: mean ± 95% confidence interval.",
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
    parser.add_argument("--format", choices=sorted([*FORMATS, _PAGE]), default="terminal")
    parser.add_argument("--output", type=Path, help="write to this file instead")
    parser.add_argument("--runs-csv", type=Path, help="also write one line a run to this file")
    parser.add_argument("--title", default=_TITLE, help="of the page")
    parser.add_argument(
        "--curve",
        default=[],
        type=_words,
        metavar="KEY,...",
        help="in the page, draw figures against these; numeric rows and columns are drawn anyway",
    )
    words = sys.argv[1:] if words is None else words
    arguments = parser.parse_args(words)
    try:
        text = report(arguments, shlex.join(["unlearn-report", *words]))
        if arguments.output is not None:
            _write("output", arguments.output, text)
    except UnlearnError as error:
        sys.stderr.write(f"unlearn-report: {error}\n")
        sys.exit(2)
    if arguments.output is None:
        sys.stdout.write(text)


def _words(text: str) -> list[str]:
    return list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


if __name__ == "__main__":
    main()
