"""Figures: the numbers of a record, by short name or by dotted path, with their units."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from unlearn.errors import ConfigError
from unlearn.files import read_file

# Short names of the built-in figures, and the dotted path of each in a record.
FIGURES = {
    "original D_r": "accuracy.original.test.retain",
    "original D_f": "accuracy.original.test.forget",
    "retrained D_r": "accuracy.retrained.test.retain",
    "retrained D_f": "accuracy.retrained.test.forget",
    "D_r": "accuracy.unlearned.test.retain",
    "D_f": "accuracy.unlearned.test.forget",
    "max D_f": "onset.largest",
    "D_r proxy": "selection.proxy.retain",
    "D_f proxy": "selection.proxy.forget",
    "D_r oracle": "selection.oracle.retain",
    "D_f oracle": "selection.oracle.forget",
    "rho": "selection.spearman.score",
    "rho D_r": "selection.spearman.retain",
    "rho D_f": "selection.spearman.forget",
    "proxy": "proxy.score",
    "relearn": "relearn.unlearned_steps",
    "retrained relearn": "relearn.retrained_steps",
    "AIN": "relearn.ain",
    "MIA": "membership.unlearned.auc",
    "retrained MIA": "membership.retrained.auc",
    "MIA gap": "membership.gap",
    "MIA floor": "membership.floor",
    "JS forget": "divergence.forget",
    "JS floor": "divergence.floor.forget",
    "probe": "probe.penultimate",
    "probe score": "probe.unlearned.-1",
    "retrained probe score": "probe.retrained.-1",
    "probe floor": "probe.floor.penultimate",
    "probe max": "probe.excess",
    "probe max floor": "probe.floor.excess",
    "audits inside": "audits_inside",
    "s": "seconds.unlearn",
    "retrained s": "seconds.retrained",
    "real images": "ledger.images",
    "real labels": "ledger.labels",
    "added MiB": "peak_memory.added",
    "GPU MiB": "peak_memory.cuda",
}
UNITS = {
    **dict.fromkeys((n for n in FIGURES if "D_" in n and "rho" not in n), "%"),
    **dict.fromkeys(("relearn", "retrained relearn"), "steps"),
    **dict.fromkeys(("JS forget", "JS floor"), "bits"),
    **dict.fromkeys((n for n in FIGURES if n.startswith("probe")), "points"),
    **dict.fromkeys(("probe score", "retrained probe score"), "%"),
    "audits inside": "share",
    **dict.fromkeys(("s", "retrained s"), "seconds"),
}
_NAMES = {path: name for name, path in FIGURES.items()}
_PARTS = {name: path.split(".") for name, path in FIGURES.items()}
_SEARCHED = 50  # records that are searched for numbers like one that is not there


def read_figures(record: Mapping[str, Any], asked: Sequence[str] = ()) -> dict[str, float | None]:
    """The figures of one record as columns of a table of runs.

    Args:
        record: of a run.
        asked: figures that the user named; those that are dotted paths of numbers are read too.

    Returns:
        Each name of `FIGURES`; each figure that a metric or an audit declared under
        `record["figures"]`, as `PATH [NAME, UNIT]`; each asked path at which there is a number.
    """
    found = {name: _number(record, parts) for name, parts in _PARTS.items()}
    for path, declared in (record.get("figures") or {}).items():
        if path not in _NAMES:
            head = f"{path} [{declared['name']}, {declared['unit']}]"
            found[head] = _number(record, path.split("."))
    for path in asked:
        if path not in FIGURES:
            try:
                found[path] = _value(record, path.split("."))
            except KeyError:
                continue
    return found


def add_figures(runs: pd.DataFrame, asked: Sequence[str]) -> pd.DataFrame:
    """The runs with a column of its own for each figure that the user named.

    Args:
        runs: with the columns of `read_figures`, or those of a CSV file of runs.
        asked: short names and dotted paths.

    Raises:
        ConfigError: for a figure that no run has, or a name that two figures share.
    """
    new = {name: _column(runs, name) for name in asked if name not in FIGURES}
    others = runs.drop(columns=list(new), errors="ignore")
    return pd.concat([others, pd.DataFrame(new).astype(float)], axis=1) if new else runs


def unit_of(runs: pd.DataFrame, figure: str) -> str:
    """The unit of a figure, empty if it has none or none is known."""
    if figure in UNITS:
        return UNITS[figure]
    of_path = UNITS.get(_NAMES.get(figure, ""), "")
    for _, path, name, unit in _declared(runs):
        number = path.rpartition(".")[0] if path.startswith("audits.") else path
        if figure in (path, name) or figure.rpartition(".")[0] == number:
            return unit
    return of_path


def declared_columns(runs: pd.DataFrame) -> list[str]:
    """The columns of the figures that metrics and audits declared themselves."""
    return [head for head, *_ in _declared(runs)]


def reference_of(figure: str) -> str | None:
    """The name of the retrained model's figure, None if there is none."""
    reference = f"retrained {figure}"
    return reference if reference in FIGURES else None


def _column(runs: pd.DataFrame, asked: str) -> pd.Series:
    """The runs' values of a figure that is not in `FIGURES`."""
    named = [(head, path) for head, path, name, _ in _declared(runs) if name == asked]
    paths = list(dict.fromkeys(path for _, path in named))
    if len(paths) > 1:
        raise ConfigError("figures", asked, f"is the name of {' and '.join(paths)}; type one path")
    heads = [head for head, path, *_ in _declared(runs) if path in (asked, *paths)]
    heads += [asked] if asked in runs and _holds_numbers(runs[asked]) else []
    heads += [_NAMES[asked]] if asked in _NAMES else []
    if not heads:
        raise ConfigError("figures", asked, _allowed(runs, asked))
    return runs[heads].astype(float).bfill(axis=1).iloc[:, 0]


def _holds_numbers(column: pd.Series) -> bool:
    return bool((pd.to_numeric(column, errors="coerce").isna() == column.isna()).all())


def _declared(runs: pd.DataFrame) -> Iterator[tuple[str, str, str, str]]:
    """Column, path, name and unit of the figures that metrics and audits declared."""
    for head in map(str, runs.columns):
        path, opened, rest = head.removesuffix("]").partition(" [")
        if opened and head.endswith("]"):
            name, _, unit = rest.partition(", ")
            yield head, path, name, unit


def _allowed(runs: pd.DataFrame, asked: str) -> str:
    """What a figure may be, the closest of the records' own numbers last."""
    names = [*FIGURES, *(name for _, _, name, _ in _declared(runs))]
    known = {path for _, path, _, _ in _declared(runs)} | set(names) | set(FIGURES.values())
    for directory in runs["directory"].unique()[:_SEARCHED]:
        record = read_file(
            Path(directory, "record.json"), lambda path: json.loads(path.read_text())
        )
        known.update(_paths(record))
    inside = sorted(path for path in known if path.startswith(f"{asked}."))
    near = [*inside, *difflib.get_close_matches(asked, sorted(known), n=5, cutoff=0.5)]
    said = f"allowed are {', '.join(names)} and the dotted path of any number in the records"
    return f"{said}; near it are {', '.join(dict.fromkeys(near[:5]))}" if near else said


def _paths(value: Any, prefix: str = "") -> Iterator[str]:
    """The dotted paths of all numbers, but for those of the config."""
    parts = value.items() if isinstance(value, dict) else ()
    for key, inner in enumerate(value) if isinstance(value, list) else parts:
        if prefix or key != "config":
            yield from _paths(inner, f"{prefix}.{key}".lstrip("."))
    if isinstance(value, int | float):
        yield prefix


def _number(record: Mapping[str, Any], parts: Sequence[str]) -> float | None:
    """The number at a path, None if there is none."""
    try:
        return _value(record, parts)
    except KeyError:
        return None


def _value(value: Any, parts: Sequence[str]) -> float | None:
    """The number at a path, None where the record has null.

    A key may itself hold dots: the longest run of parts that is a key is taken.

    Raises:
        KeyError: if there is no such path, or no number at it.
    """
    while parts and value is not None:
        value, parts = _step(value, parts)
    if value is not None and not isinstance(value, int | float):
        raise KeyError("no number")
    return None if value is None else float(value)


def _step(value: Any, parts: Sequence[str]) -> tuple[Any, Sequence[str]]:
    """The value at the first of the parts, and the parts that are left."""
    if isinstance(value, list):
        try:
            return value[int(parts[0])], parts[1:]
        except (ValueError, IndexError) as error:
            raise KeyError(parts[0]) from error
    for end in range(len(parts), 0, -1) if isinstance(value, dict) else ():
        if (key := ".".join(parts[:end])) in value:
            return value[key], parts[end:]
    raise KeyError(parts[0])
