"""Options that several subcommands share, and what is done with them."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, _ActionsContainer
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from unlearn.errors import ConfigError
from unlearn.report.figures import FIGURES, declared_columns
from unlearn.report.frontier import ALONG
from unlearn.report.notes import as_lines
from unlearn.report.plugins import find_modules
from unlearn.report.runs import LINE, NOTED, TOLD, check_keys, load, only

ROWS = ["dataset", "model", "method", "forget"]
SHOWN = ["original D_r", "retrained D_r", "D_r", "D_f", "max D_f", "AIN", "s"]
_FORMATS = "unlearn.report.formats"


def add_runs(parser: ArgumentParser) -> None:
    """Which runs are read: OUTPUTS and --where."""
    parser.add_argument(
        "outputs",
        type=Path,
        nargs="+",
        metavar="OUTPUTS",
        help="a folder of runs, or a CSV file that --runs-csv wrote",
    )
    parser.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="use only the runs whose config key has this value; can be given several times",
    )


def add_rows(parser: ArgumentParser, rows: Sequence[str] = ROWS) -> None:
    """How runs are grouped: --rows and --columns."""
    parser.add_argument(
        "--rows",
        type=split_words,
        default=list(rows),
        metavar="KEY,...",
        help="one row (in charts: one line) for each combination of these config keys; "
        f"default: {','.join(rows)}",
    )
    parser.add_argument(
        "--columns",
        type=split_words,
        default=[],
        metavar="KEY,...",
        help="one block of columns (in charts: one chart) for each combination of these keys",
    )


def add_figures(parser: _ActionsContainer, default: Sequence[str] = SHOWN) -> None:
    """Which figures are shown: --figures."""
    parser.add_argument(
        "--figures",
        type=split_words,
        default=list(default),
        metavar="NAME,...",
        help=f"figures to show: short names ({', '.join(FIGURES)}), names that a metric declares, "
        "or the dotted path of a number in the record, such as probe.excess; "
        f"default: {','.join(default)}",
    )


def add_table_output(parser: ArgumentParser) -> None:
    """Where a table goes: --format and --output."""
    add_format(parser)
    add_output(parser, required=False)


def add_format(parser: ArgumentParser, default: str = "terminal") -> None:
    """The format of a table: --format."""
    known = ", ".join(sorted(find_modules(_FORMATS)))
    parser.add_argument(
        "--format",
        type=_known_format,
        default=default,
        metavar="FORMAT",
        help=f"{known}; default: {default}",
    )


def add_along(parser: ArgumentParser) -> None:
    """The key of a frontier: --along."""
    parser.add_argument(
        "--along",
        default=ALONG,
        metavar="KEY",
        help=f"config key whose values are the points of a line of the frontier; default: {ALONG}",
    )


def add_output(parser: ArgumentParser, *, required: bool) -> None:
    """Where the text goes: --output."""
    said = "write to this file" if required else "write to this file instead of the terminal"
    parser.add_argument("--output", type=Path, required=required, metavar="FILE", help=said)


def add_runs_csv(parser: ArgumentParser) -> None:
    """--runs-csv."""
    parser.add_argument(
        "--runs-csv",
        type=Path,
        metavar="FILE",
        help="also write a CSV file with one line a run, which can stand for OUTPUTS later",
    )


def split_words(text: str) -> list[str]:
    """Words between commas, each once."""
    return list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def read_runs(options: Namespace, **keys: Sequence[str]) -> pd.DataFrame:
    """The runs that the command line names.

    Args:
        options: with `outputs` and `where`; `figures` are read if there are any.
        keys: the config keys that each option names, by the option's name.

    Raises:
        ConfigError: for runs that cannot be read, or keys that no run has.
    """
    if keys.get("rows", ROWS) == []:
        raise ConfigError("rows", "", "must name a key")
    runs = only(load(options.outputs, getattr(options, "figures", ())), options.where)
    for option, names in keys.items():
        check_keys(runs, option, names)
    return runs


def format_table(
    table: pd.DataFrame, said: Sequence[str], runs: pd.DataFrame, options: Namespace
) -> str:
    """A table in the chosen format.

    Args:
        table: of text, the keys in its index. Columns of two levels become one heading each.
        said: sentences to put below it.
        runs: behind it; those that failed or are unfinished are listed below the sentences.
        options: with `format`.
    """
    columns = table.columns.to_flat_index()
    heads = [c if isinstance(c, str) else " ".join(map(str, c)) for c in columns]
    module = find_modules(_FORMATS)[options.format]()
    text: str = module.write(table.set_axis(heads, axis=1), as_lines(runs, said))
    return text


def write_runs(runs: pd.DataFrame, options: Namespace, keys: Sequence[str]) -> None:
    """Write the CSV file of --runs-csv, if one is asked for.

    Args:
        runs: as `load` gives them; those of a leaderboard with `TOLD`.
        options: with `runs_csv`, and `figures` if the command has any.
        keys: config keys that get a column.
    """
    if options.runs_csv is None:
        return
    figures = [*FIGURES, *declared_columns(runs), *getattr(options, "figures", ())]
    columns = dict.fromkeys([*LINE, *NOTED, *figures, TOLD, *keys])
    present = [column for column in columns if column in runs]
    write_text("runs-csv", options.runs_csv, runs[present].to_csv(index=False))


def write_text(option: str, path: Path, text: str) -> None:
    """Write a file, or raise `ConfigError` naming the option that named it."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(option, path, f"cannot be written ({error.strerror})") from error


def _known_format(name: str) -> str:
    known = sorted(find_modules(_FORMATS))
    if name not in known:
        raise ConfigError("format", name, f"allowed are {', '.join(known)}")
    return name
