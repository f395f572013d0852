"""Write one HTML page with the table, charts, pictures and failed runs.

The page needs no other file. Each chart has the commands that made its runs. Keys of --rows and
--columns that hold numbers and have three values or more are drawn as axes too.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from unlearn.errors import ConfigError
from unlearn.report import options as shared
from unlearn.report.calibration import add_told_inside
from unlearn.report.figures import reference_of
from unlearn.report.leaderboard import describe_ranking, leaderboard
from unlearn.report.notes import remarks
from unlearn.report.pivot import pivot

_BOARD = ["dataset", "model", "method"]


def add_options(parser: ArgumentParser) -> None:
    """Add the options of the command."""
    shared.add(parser, "outputs", "--where", "--columns", "--along", "--runs-csv")
    shared.add(parser, "--output", required=True, help="write the page to this file")
    shared.add(
        parser,
        "--rows",
        default=None,
        help="one row of the table and one line of the charts for each combination of these "
        f"config keys; default: {','.join(_BOARD)}, and without --leaderboard forget too",
    )
    shown = parser.add_mutually_exclusive_group()
    shared.add(shown, "--figures")
    shown.add_argument(
        "--leaderboard", action="store_true", help="show the leaderboard in place of the table"
    )
    parser.add_argument(
        "--curve",
        type=shared.split_words,
        default=[],
        metavar="KEY,...",
        help="also draw D_r, D_f and AIN against these numeric config keys",
    )
    parser.add_argument("--title", default="Unlearning report", help="title of the page")


def run(options: Namespace) -> str:
    """The page as HTML."""
    from unlearn.report.page import page
    from unlearn.report.sections import PageSettings, numeric, swept

    if options.rows is None:
        options.rows = _BOARD if options.leaderboard else [*_BOARD, "forget"]
    rows, columns = options.rows, options.columns
    keys = [*rows, *columns]
    along = [] if options.along == shared.ALONG else ["along"]
    runs = shared.read_runs(options, "rows", "columns", "curve", *along)
    complete = runs[runs["status"] == "complete"]
    words = [key for key in options.curve if not numeric(complete, key)]
    if words:
        raise ConfigError("curve", words[0], "holds no numbers in the complete runs")
    if options.leaderboard:
        runs = add_told_inside(runs)
        table, said = leaderboard(runs), describe_ranking(runs)
    else:
        pairs = [(name, reference_of(name)) for name in options.figures]
        figures = dict.fromkeys(name for pair in pairs for name in pair if name)
        table, said = pivot(runs, rows, columns, list(figures)), remarks(runs, keys)
    shared.write_runs(runs, options, keys)
    curves = list(dict.fromkeys([*options.curve, *swept(runs, keys)]))
    wanted = PageSettings(rows, columns, curves, options.along, options.title, options.command)
    return page(runs, table, said, wanted)
