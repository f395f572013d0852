"""Print which audits can tell networks that kept the class from retrained ones.

For each number of an audit: the percentage of sets of networks in which it passes a retrained
network that was left out, fails the original network, and fails one whose forget logits are only
lowered. Needs runs made with evaluation=audit.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from unlearn.report import options as shared
from unlearn.report.calibration import RULE, calibration


def add_options(parser: ArgumentParser) -> None:
    """Add the options of the command."""
    shared.add(parser, "outputs", "--where", "--format", "--output")


def run(options: Namespace) -> str:
    """The table as text."""
    runs = shared.read_runs(options)
    return shared.format_table(calibration(runs), [RULE], runs, options)
