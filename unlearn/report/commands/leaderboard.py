"""Rank the methods among those with the same access to real data.

There is a board for each data set and network, with costs and alarms. Methods are ranked by the
share of audits in which they lie inside the spread of retrained networks.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from unlearn.report import options as shared
from unlearn.report.calibration import add_told_inside
from unlearn.report.leaderboard import describe_ranking, leaderboard


def add_options(parser: ArgumentParser) -> None:
    """Add the options of the command."""
    shared.add(parser, "outputs", "--where", "--format", "--output", "--runs-csv")


def run(options: Namespace) -> str:
    """The board as text."""
    runs = add_told_inside(shared.read_runs(options))
    shared.write_runs(runs, options)
    return shared.format_table(leaderboard(runs), describe_ranking(runs), runs, options)
