"""Text that other people wrote, escaped for the place where it is shown."""

from __future__ import annotations

import re

_MARKDOWN = re.compile(r"[\\`*\[\]{}<>|~#!&]|(?<!\w)_|_(?!\w)")
_FIGURE = r"([+-]?[\d.]+(e[+-]?\d+)?( ± [\d.]+)?( \(\d+ of \d+\))?|-)"
_NUMBERS = re.compile(f"{_FIGURE}( / {_FIGURE})*")  # as the cells of tables have them
# A spreadsheet takes a cell that begins so for a formula; the quote marks text.
_FORMULA = ("=", "+", "-", "@", "'")


def printable(text: str) -> str:
    r"""Return text as one line for a terminal: control characters become escapes such as `\x1b`."""
    if text.isprintable():
        return text
    line = re.sub(r"\s+", " ", text)
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)


def markdown(text: object) -> str:
    """Return text as one line that Markdown shows as it is."""
    return _MARKDOWN.sub(r"\\\g<0>", printable(str(text)))


def csv_cell(text: str) -> str:
    """Return text that no spreadsheet takes for a formula; numbers stay as they are."""
    return f"'{text}" if text.startswith(_FORMULA) and not _NUMBERS.fullmatch(text) else text


def read_csv_cell(text: str) -> str:
    """Return the text of which `csv_cell` made this."""
    return text.removeprefix("'") if text.startswith(tuple(f"'{c}" for c in _FORMULA)) else text
