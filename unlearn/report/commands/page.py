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
from unlearn.report.frontier import ALONG
from unlearn.report.leaderboard import describe_ranking, leaderboard
from unlearn.report.notes import remarks
from unlearn.report.pivot import pivot


def add_options(parser: ArgumentParser) -> None:
    """Add the options of the command."""
    shared.add_runs(parser)
    shared.add_rows(parser)
    parser.set_defaults(rows=None)  # a leaderboard has others
    shown = parser.add_mutually_exclusive_group()
    shared.add_figures(shown)
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
    shared.add_along(parser)
    parser.add_argument("--title", default="Unlearning report", help="title of the page")
    shared.add_output(parser, required=True)
    shared.add_runs_csv(parser)


def run(options: Namespace) -> str:
    """The page as HTML."""
    from unlearn.report.page import PageSettings, page
    from unlearn.report.sections import numeric, swept

    default = shared.ROWS[:3] if options.leaderboard else shared.ROWS
    rows, columns = options.rows or default, options.columns
    keys = [*rows, *columns]
    along = [options.along] if options.along != ALONG else []
    runs = shared.read_runs(options, rows=rows, columns=columns, curve=options.curve, along=along)
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
