"""The program `unlearn-report`: reads the records of runs and makes tables, pages and pictures."""

from __future__ import annotations

import argparse
import inspect
import shlex
import sys
from collections.abc import Sequence
from typing import NoReturn

from unlearn.errors import exit_on_error
from unlearn.report.options import write_text
from unlearn.report.plugins import find_modules

_DESCRIPTION = """\
Read the records of runs and show them as a table, a page or a picture.

  unlearn-report outputs                 print the table: the same as unlearn-report table outputs
  unlearn-report table outputs --rows method --figures D_r,AIN,probe.excess
  unlearn-report page outputs --output report.html
"""
_DEFAULT = "table"


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line each."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"unlearn-report: {message}; see {self.prog} --help\n")


def main(words: Sequence[str] | None = None) -> None:
    """Run the command line, or the given words in its place; exit 2 for a mistake in them."""
    words = list(sys.argv[1:] if words is None else words)
    names = find_modules("unlearn.report.commands")
    if not words or words[0] not in (*names, "-h", "--help"):
        words = [_DEFAULT, *words]
    with exit_on_error("unlearn-report"):
        options = _parser(words[:1]).parse_args(words)
        options.command = shlex.join(["unlearn-report", *words])
        text = options.run(options)
        if options.output is not None:
            write_text("output", options.output, text)
    if options.output is None:
        sys.stdout.write(text)


def _parser(chosen: Sequence[str]) -> argparse.ArgumentParser:
    """A parser with the chosen command, or with all of them where none is chosen."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = _Parser("unlearn-report", description=_DESCRIPTION, formatter_class=layout)
    commands = parser.add_subparsers(
        title="commands",
        metavar="COMMAND",
        required=True,
        description="unlearn-report COMMAND --help lists the options of one",
    )
    found = find_modules("unlearn.report.commands")
    for name in sorted(found.keys() & set(chosen) or found):
        module = found[name]()
        said = inspect.cleandoc(module.__doc__ or "")
        own = commands.add_parser(
            name,
            help=said.partition("\n")[0].replace("%", "%%"),
            description=said,
            formatter_class=layout,
            allow_abbrev=False,
        )
        module.add_options(own)
        own.set_defaults(run=module.run)
    return parser


if __name__ == "__main__":
    main()
