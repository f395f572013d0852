"""Estimate what each key of a factorial sweep changes, by least squares.

Each level of a key is compared with the key's reference level, averaged evenly over the levels of
the other keys. Data set, model, method, forget classes and seed are blocks unless they are keys.
Intervals are heteroscedasticity-consistent (HC3).
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from unlearn.report import options as shared
from unlearn.report.notes import DIFFERENCES, remarks


def add_options(parser: ArgumentParser) -> None:
    """Add the options of the command."""
    shared.add(parser, "outputs", "--where")
    parser.add_argument(
        "--keys",
        type=shared.split_words,
        required=True,
        metavar="KEY[=REFERENCE],...",
        help="the config keys that vary; the reference is the first value if none is named",
    )
    parser.add_argument(
        "--interactions", action="store_true", help="also estimate interactions of two keys"
    )
    shared.add(parser, "--figures", "--format", "--output", "--runs-csv")


def run(options: Namespace) -> str:
    """The table as text."""
    from unlearn.report.effects import BLOCKS, effects, factors

    runs = shared.read_runs(options)
    named = factors(runs, options.keys)
    keys = [factor.key for factor in named]
    shared.write_runs(runs, options, keys)
    table = effects(runs, named, options.figures, options.interactions)
    said = remarks(runs, list(dict.fromkeys([*keys, *BLOCKS])), DIFFERENCES)
    return shared.format_table(table, said, runs, options)
