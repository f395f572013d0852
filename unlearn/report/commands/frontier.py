"""Draw the frontier of D_r against AIN or the probe as an SVG picture.

A line has a point for each value of the key of --along. The region where retrained networks lie is
shaded.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from unlearn.errors import ConfigError
from unlearn.report import options as shared
from unlearn.report.frontier import AGAINST, measured, unmeasured
from unlearn.report.groups import panels
from unlearn.report.notes import remarks


def add_options(parser: ArgumentParser) -> None:
    """Add the options of the command."""
    shared.add(parser, "outputs", "--where", "--along", "--columns", "--runs-csv")
    shared.add(parser, "--rows", default="method")
    shared.add(parser, "--output", required=True, help="write the picture to this file")
    parser.add_argument(
        "--against",
        type=shared.split_words,
        default="AIN",
        metavar="NAME,...",
        help=f"draw D_r against each of these: {', '.join(AGAINST)}; default: %(default)s",
    )
    parser.add_argument("--title", help="title of the picture")


def run(options: Namespace) -> str:
    """The picture as SVG."""
    from unlearn.report.frontier_chart import picture

    key, rows, columns = options.along, options.rows, options.columns
    unknown = [name for name in options.against if name not in AGAINST]
    if unknown or not options.against:
        raise ConfigError("against", ",".join(unknown), f"allowed are {', '.join(AGAINST)}")
    against = [AGAINST[name] for name in options.against]
    runs = shared.read_runs(options, "rows", "columns", "along")
    shared.write_runs(runs, options, [*rows, *columns, key])
    usable = runs
    for other in against:
        usable = measured(usable, other)
        if usable.empty:
            why = f"no complete run has D_r and {other.name}"
            raise ConfigError("outputs", options.outputs[0], why)
    rows, columns = ([name for name in keys if name != key] for keys in (rows, columns))
    lacking = [line for other in against for line in unmeasured(runs, other)]
    said = [*remarks(runs, [*rows, *columns, key])[1:], *lacking]
    title = options.title or f"D_r against {' and '.join(options.against)} along {key}"
    return picture(panels(usable, rows, columns), key, against, title, said)
