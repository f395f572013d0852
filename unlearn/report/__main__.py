"""`unlearn-report`: many runs as a table or a page, with the failed ones to run again."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from unlearn.errors import ConfigError, exit_on_error
from unlearn.report.calibration import RULE, calibration, told_inside
from unlearn.report.groups import panels
from unlearn.report.leaderboard import leaderboard, notes
from unlearn.report.notes import DIFFERENCES, as_lines, remarks
from unlearn.report.pivot import pivot
from unlearn.report.runs import FIGURES, LINE, TOLD, check_keys, load, only, referenced
from unlearn.report.write import FORMATS

_PAGE, _FRONTIER = "html", "frontier"
_ROWS = ["dataset", "model", "method", "forget"]
_SHOWN = ["original D_r", "retrained D_r", "D_r", "D_f", "max D_f", "AIN", "s"]
_BOARD = ["dataset", "model", "method"]  # the lines of a leaderboard's charts
_ALONG = "method.start"
_INSTEAD = {  # of the usual table, and what says nothing then
    "effects": ("rows", "columns"),
    "leaderboard": ("rows", "columns", "figures", "effects", "calibration"),
    "calibration": ("rows", "columns", "effects"),
}


def report(arguments: argparse.Namespace, command: str) -> str:
    """The report as text, the table first.

    Args:
        arguments: of the command line.
        command: itself, for the page to show.

    Raises:
        ConfigError: naming the option that cannot be used.
    """
    _check(arguments)
    if arguments.rows is None:
        default = _BOARD if arguments.leaderboard else _ROWS
        arguments.rows = ["method"] if arguments.format == _FRONTIER else default
    if arguments.figures is None:
        arguments.figures = _SHOWN
    runs = only(load(arguments.outputs), arguments.where)
    for option in ("rows", "columns", "curve"):
        check_keys(runs, option, getattr(arguments, option))
    if arguments.along is not None or arguments.format == _FRONTIER:
        check_keys(runs, "along", [arguments.along or _ALONG])
    if arguments.leaderboard:
        # Not `assign`: into the many columns of a config pandas inserts one with a warning.
        others = runs.drop(columns=TOLD, errors="ignore")
        runs = pd.concat([others, told_inside(runs).rename(TOLD)], axis=1)
    if arguments.runs_csv is not None:
        _write_runs(runs, arguments)
    if arguments.format == _PAGE:
        return _page(runs, arguments, command)
    if arguments.format == _FRONTIER:
        return _frontier(runs, arguments)
    if arguments.effects:
        return _effects(runs, arguments)
    if arguments.leaderboard:
        return _text(leaderboard(runs), notes(runs), runs, arguments)
    if arguments.calibration:
        return _calibration(runs, arguments)
    table = pivot(runs, arguments.rows, arguments.columns, arguments.figures)
    return _text(table, remarks(runs, [*arguments.rows, *arguments.columns]), runs, arguments)


def _check(arguments: argparse.Namespace) -> None:
    unknown = [name for name in arguments.figures or () if name not in FIGURES]
    if unknown:
        raise ConfigError("figures", unknown[0], f"allowed are {', '.join(FIGURES)}")
    if arguments.rows == []:
        raise ConfigError("rows", "", "must name a key")
    drawn = arguments.format in (_PAGE, _FRONTIER)
    if drawn and arguments.output is None:
        raise ConfigError("output", None, f"must name a file for --format {arguments.format}")
    for given, options in _INSTEAD.items():
        for option in options:
            if getattr(arguments, given):
                _unset(arguments, option, f"cannot be had with --{given}")
    if arguments.format == _FRONTIER:
        _unset(arguments, "leaderboard", "is for a table, not for --format frontier")
    if not arguments.effects:
        _unset(arguments, "interactions", "is for --effects")
    if drawn:
        for option in ("effects", "calibration"):
            _unset(arguments, option, f"is for a table, not for --format {arguments.format}")
    else:
        for option in ("title", "along"):
            _unset(arguments, option, "is for --format html or frontier")
    if arguments.format != _FRONTIER:
        _unset(arguments, "against", "is for --format frontier")
    if arguments.format != _PAGE:
        _unset(arguments, "curve", "is for --format html")


def _unset(arguments: argparse.Namespace, option: str, why: str) -> None:
    """Raise `ConfigError` if an option was given."""
    value = getattr(arguments, option)
    if value:
        raise ConfigError(option, ",".join(value) if isinstance(value, list) else value, why)


def _text(
    table: pd.DataFrame, said: Sequence[str], runs: pd.DataFrame, arguments: argparse.Namespace
) -> str:
    """A table, with what a reader must know where the format has room for it."""
    text = FORMATS[arguments.format](table)
    if arguments.format in ("terminal", "markdown"):
        text += as_lines(runs, said)
    return text


def _effects(runs: pd.DataFrame, arguments: argparse.Namespace) -> str:
    from unlearn.report.effects import BLOCKS, effects, factors

    named = factors(runs, arguments.effects)
    table = effects(runs, named, arguments.figures, arguments.interactions)
    keys = list(dict.fromkeys([*(factor.key for factor in named), *BLOCKS]))
    return _text(table, remarks(runs, keys, DIFFERENCES), runs, arguments)


def _calibration(runs: pd.DataFrame, arguments: argparse.Namespace) -> str:
    return _text(calibration(runs), [RULE], runs, arguments)


def _frontier(runs: pd.DataFrame, arguments: argparse.Namespace) -> str:
    from unlearn.report.frontier import AGAINST, measured, unmeasured
    from unlearn.report.frontier_chart import picture

    key = arguments.along or _ALONG
    names = arguments.against or list(AGAINST)[:1]
    unknown = [name for name in names if name not in AGAINST]
    if unknown:
        raise ConfigError("against", unknown[0], f"allowed are {', '.join(AGAINST)}")
    against = [AGAINST[name] for name in names]
    usable = runs
    for other in against:
        usable = measured(usable, other)
        if usable.empty:
            why = f"no complete run has D_r and {other.name}"
            raise ConfigError("outputs", arguments.outputs[0], why)
    rows, columns = ([k for k in keys if k != key] for keys in (arguments.rows, arguments.columns))
    lacking = [line for other in against for line in unmeasured(runs, other)]
    said = [*remarks(runs, [*rows, *columns, key])[1:], *lacking]
    title = arguments.title or f"D_r against {' and '.join(names)} along {key}"
    return picture(panels(usable, rows, columns), key, against, title, said)


def _page(runs: pd.DataFrame, arguments: argparse.Namespace, command: str) -> str:
    from unlearn.report.page import Wanted, page
    from unlearn.report.sections import numeric, swept

    complete = runs[runs["status"] == "complete"]
    words = [key for key in arguments.curve if not numeric(complete, key)]
    if words:
        raise ConfigError("curve", words[0], "holds no numbers in the complete runs")
    keys = [*arguments.rows, *arguments.columns]
    curves = [*arguments.curve, *(k for k in swept(runs, keys) if k not in arguments.curve)]
    if arguments.leaderboard:
        table, said = leaderboard(runs), notes(runs)
    else:
        table = pivot(runs, arguments.rows, arguments.columns, referenced(arguments.figures))
        said = remarks(runs, keys)
    wanted = Wanted(
        arguments.rows,
        arguments.columns,
        curves,
        arguments.along or _ALONG,
        arguments.title or "Unlearning report",
        command,
        said,
    )
    return page(runs, table, wanted)


def _write_runs(runs: pd.DataFrame, arguments: argparse.Namespace) -> None:
    """One line a run."""
    shown = [*LINE, "oracle", "censored", "alarms", *FIGURES]
    named = [TOLD] if arguments.leaderboard else []
    named += [*arguments.rows, *arguments.columns]
    named += [word.partition("=")[0] for word in arguments.effects]
    if arguments.format == _FRONTIER:
        named.append(arguments.along or _ALONG)
    keys = [key for key in dict.fromkeys(named) if key not in shown]
    _write("runs-csv", arguments.runs_csv, runs[[*shown, *keys]].to_csv(index=False))


def _write(option: str, path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(option, path, f"cannot be written ({error.strerror})") from error


def main(words: Sequence[str] | None = None) -> None:
    """Run the command line, or these words in its place; exit 2 for the user's mistakes."""
    words = sys.argv[1:] if words is None else words
    arguments = _parser().parse_args(words)
    with exit_on_error("unlearn-report"):
        text = report(arguments, shlex.join(["unlearn-report", *words]))
        if arguments.output is not None:
            _write("output", arguments.output, text)
    if arguments.output is None:
        sys.stdout.write(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="unlearn-report",
        description="Many runs as a table or page by any keys: mean ± 95% confidence interval.",
    )
    add = parser.add_argument
    add("outputs", type=Path, nargs="+", help="folders of runs, or files of --runs-csv")
    add("--rows", type=_words, metavar="KEY,...", help=f"otherwise {','.join(_ROWS)}")
    add("--columns", default=[], type=_words, metavar="KEY,...", help="keys side by side")
    add(
        "--figures",
        type=_words,
        metavar="NAME,...",
        help=f"of {', '.join(FIGURES)}; otherwise {', '.join(_SHOWN)}",
    )
    add("--where", action="append", default=[], metavar="KEY=VALUE", help="only these runs")
    add("--format", choices=sorted([*FORMATS, _PAGE, _FRONTIER]), default="terminal")
    add("--output", type=Path, help="write to this file instead")
    add("--runs-csv", type=Path, help="also write one line a run to this file")
    add("--title", help="of the page or the picture")
    add(
        "--curve",
        default=[],
        type=_words,
        metavar="KEY,...",
        help="in the page, draw figures against these; numeric rows and columns are drawn anyway",
    )
    add(
        "--along",
        metavar="KEY",
        help="a line of the frontier (an SVG picture, by method unless --rows says otherwise, and "
        f"a section of the page) has a point for each value of this: {_ALONG} otherwise",
    )
    add("--against", default=[], type=_words, metavar="NAME,...", help="of frontier: AIN, probe")
    add(
        "--leaderboard",
        action="store_true",
        help="instead: methods ranked among those of the same access, with cost and alarms",
    )
    add(
        "--effects",
        default=[],
        type=_words,
        metavar="KEY[=REFERENCE],...",
        help="instead: how figures differ from those at the reference, by least squares over all "
        "of these keys, with data set, model, method, classes and seed as blocks",
    )
    add(
        "--calibration",
        action="store_true",
        help="instead: which audits pass retrained networks, and fail the original and one whose "
        "logit is held down, in percent",
    )
    add("--interactions", action="store_true", help="of each two of --effects' keys too")
    return parser


def _words(text: str) -> list[str]:
    return list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


if __name__ == "__main__":
    main()
