"""The commands behind many runs, folded into multiruns where they form a full product."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from unlearn.report.pivot import natural

# A set of runs that is no product is told as this many multiruns at most.
_MOST_PARTS = 6
_SHOWN = 3

_Words = dict[str, str]


@dataclass(frozen=True)
class Sweep:
    """Commands that do some runs.

    Args:
        commands: one multirun, or the first few of the single runs.
        runs: how many runs there are.
        whole: whether the commands do all of them.
    """

    commands: list[str]
    runs: int
    whole: bool


def folded(commands: Sequence[list[str] | None]) -> list[Sweep]:
    """The sweeps that made the runs whose records hold these commands.

    Args:
        commands: what was typed after `unlearn` for each run; None for one started from Python.
    """
    known = {tuple(words): None for words in commands if words is not None}
    alike: dict[tuple[str, ...], list[_Words]] = {}
    for words in known:
        typed = dict(_split(word) for word in words)
        alike.setdefault(tuple(sorted(typed)), []).append(typed)
    sweeps = [sweep for part in alike.values() for sweep in _sweeps(part)]
    started = sum(words is None for words in commands)
    return [*sweeps, *([Sweep([], started, whole=False)] if started else [])]


def _sweeps(runs: list[_Words]) -> list[Sweep]:
    """Sweeps of runs that set the same keys: as one product, or as a product for each value."""
    if _is_product(runs):
        return [Sweep([_multirun(runs)], len(runs), whole=True)]
    for key, values in _values(runs).items():
        if 1 < len(values) <= _MOST_PARTS:
            parts = [[run for run in runs if run[key] == value] for value in values]
            if all(map(_is_product, parts)):
                return [Sweep([_multirun(part)], len(part), whole=True) for part in parts]
    shown = [_multirun([run]) for run in runs[:_SHOWN]]
    return [Sweep(shown, len(runs), whole=len(shown) == len(runs))]


def _is_product(runs: list[_Words]) -> bool:
    return math.prod(map(len, _values(runs).values())) == len(runs)


def _values(runs: list[_Words]) -> dict[str, list[str]]:
    """Each key's values in their natural order."""
    found = {key: {run[key] for run in runs} for key in runs[0]}
    return {
        key: sorted(values, key=lambda value: natural([value.strip("[]")]))
        for key, values in found.items()
    }


def _multirun(runs: list[_Words]) -> str:
    words = [*_joined(runs)]
    return shlex.join(["unlearn", *(["-m"] if len(runs) > 1 else []), *words])


def _joined(runs: list[_Words]) -> Iterator[str]:
    for key, values in _values(runs).items():
        text = ",".join(values)
        yield f"{key}={text}" if text else key


def _split(word: str) -> tuple[str, str]:
    key, _, value = word.partition("=")
    return key, value
