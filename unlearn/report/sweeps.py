"""The commands that made many runs, as multiruns where the settings form a full product."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from unlearn.report.pivot import natural

_MOST_PARTS = 6  # multiruns that runs which form no product are split into
_SHOWN = 3  # single commands that are shown of runs which cannot be split so

_Words = dict[str, str]


@dataclass(frozen=True)
class Sweep:
    """The commands of some runs.

    Args:
        commands: one multirun, or the commands of the first few runs.
        runs: number of runs.
        whole: whether the commands make all of the runs.
    """

    commands: list[str]
    runs: int
    whole: bool


def folded(commands: Sequence[list[str] | None]) -> list[Sweep]:
    """Fold the commands of runs into sweeps.

    Args:
        commands: for each run the words typed after `unlearn`, None if Python started it.
    """
    known = {tuple(words): None for words in commands if words is not None}
    alike: dict[tuple[str, ...], list[_Words]] = {}
    for words in known:
        typed = dict(word.partition("=")[::2] for word in words)
        alike.setdefault(tuple(sorted(typed)), []).append(typed)
    sweeps = [sweep for part in alike.values() for sweep in _sweeps(part)]
    started = sum(words is None for words in commands)
    return [*sweeps, *([Sweep([], started, whole=False)] if started else [])]


def _sweeps(runs: list[_Words]) -> list[Sweep]:
    """Sweeps of runs that set the same keys: one product, or a product for each value of a key."""
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
    joined = {key: ",".join(values) for key, values in _values(runs).items()}
    words = [f"{key}={text}" if text else key for key, text in joined.items()]
    return shlex.join(["unlearn", *(["-m"] if len(runs) > 1 else []), *words])
