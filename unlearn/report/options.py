"""Options that several subcommands share, and what is done with them."""

from __future__ import annotations

from argparse import Namespace, _ActionsContainer
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from unlearn.errors import ConfigError
from unlearn.escape import csv_cell
from unlearn.report.figures import FIGURES, declared_columns
from unlearn.report.notes import as_lines
from unlearn.report.plugins import find_modules
from unlearn.report.reading import LINE, NOTED
from unlearn.report.runs import TOLD, check_keys, load, only

ALONG = "method.start"
_FORMATS = "unlearn.report.formats"


def split_words(text: str) -> list[str]:
    """Words between commas, each once."""
    return list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def _known_format(name: str) -> str:
    if name not in find_modules(_FORMATS):
        known = ", ".join(sorted(find_modules(_FORMATS)))
        raise ConfigError("format", name, f"allowed are {known}")
    return name


_OPTIONS: dict[str, dict[str, Any]] = {
    "outputs": {
        "type": Path,
        "nargs": "+",
        "metavar": "OUTPUTS",
        "help": "a folder of runs, or a CSV file that --runs-csv wrote",
    },
    "--where": {
        "action": "append",
        "default": [],
        "metavar": "KEY=VALUE",
        "help": "use only the runs whose config key has this value; can be given several times",
    },
    "--rows": {
        "type": split_words,
        "default": "dataset,model,method,forget",
        "metavar": "KEY,...",
        "help": "one row, or one line of a chart, for each combination of these config keys; "
        "default: %(default)s",
    },
    "--columns": {
        "type": split_words,
        "default": [],
        "metavar": "KEY,...",
        "help": "one block of columns, or one chart, for each combination of these config keys",
    },
    "--figures": {
        "type": split_words,
        "default": "original D_r,retrained D_r,D_r,D_f,max D_f,AIN,s",
        "metavar": "NAME,...",
        "help": f"figures to show: short names ({', '.join(FIGURES)}), names that a metric "
        "declares, or the dotted path of a number in the record, such as probe.excess; "
        "default: %(default)s",
    },
    "--along": {
        "default": ALONG,
        "metavar": "KEY",
        "help": "config key whose values are the points of a line of the frontier; "
        "default: %(default)s",
    },
    "--format": {
        "type": _known_format,
        "default": "terminal",
        "metavar": "FORMAT",
        "help": f"{', '.join(sorted(find_modules(_FORMATS)))}; default: %(default)s",
    },
    "--output": {
        "type": Path,
        "metavar": "FILE",
        "help": "write to this file instead of the terminal",
    },
    "--runs-csv": {
        "type": Path,
        "metavar": "FILE",
        "help": "also write a CSV file with one line a run, which can stand for OUTPUTS later",
    },
}


def add(parser: _ActionsContainer, *names: str, **changes: Any) -> None:
    """Add shared options to a parser.

    Args:
        parser: of a subcommand, or a group of its options.
        names: of the options, with their dashes.
        changes: arguments of `add_argument` that differ from the shared ones.
    """
    for name in names:
        parser.add_argument(name, **(_OPTIONS[name] | changes))


def read_runs(options: Namespace, *keys: str) -> pd.DataFrame:
    """The runs that the command line names.

    Args:
        options: with `outputs` and `where`; `figures` are read if there are any.
        keys: options that hold config keys, which must exist.

    Raises:
        ConfigError: for runs that cannot be read, or keys that no run has.
    """
    if getattr(options, "rows", None) == []:
        raise ConfigError("rows", "", "must name a key")
    runs = only(load(options.outputs, getattr(options, "figures", ())), options.where)
    for name in keys:
        value = getattr(options, name)
        check_keys(runs, name, [value] if isinstance(value, str) else value)
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


def write_runs(runs: pd.DataFrame, options: Namespace, keys: Sequence[str] = ()) -> None:
    """Write the CSV file of --runs-csv, if one is asked for.

    Args:
        runs: as `load` gives them; those of a leaderboard with `TOLD`.
        options: with `runs_csv`, and `figures` if the command has any.
        keys: config keys that get a column.
    """
    if options.runs_csv is not None:
        figures = [*FIGURES, *declared_columns(runs), *getattr(options, "figures", ())]
        columns = dict.fromkeys([*LINE, *NOTED, *figures, TOLD, *keys])
        present = [column for column in columns if column in runs]
        table = runs[present].map(lambda cell: csv_cell(cell) if isinstance(cell, str) else cell)
        write_text("runs-csv", options.runs_csv, table.to_csv(index=False))


def write_text(option: str, path: Path, text: str) -> None:
    """Write a file, or raise `ConfigError` naming the option that named it."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(option, path, f"cannot be written ({error.strerror})") from error
