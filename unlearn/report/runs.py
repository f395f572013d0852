"""Records as one table: a row a run, a column a config key or a figure."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from unlearn.errors import ConfigError

# Figures by the names that tables use: where the record keeps them.
FIGURES = {
    "original D_r": "accuracy.original.test.retain",
    "original D_f": "accuracy.original.test.forget",
    "retrained D_r": "accuracy.retrained.test.retain",
    "retrained D_f": "accuracy.retrained.test.forget",
    "D_r": "accuracy.unlearned.test.retain",
    "D_f": "accuracy.unlearned.test.forget",
    "max D_f": "onset.largest",
    "relearn": "relearn.unlearned_steps",
    "retrained relearn": "relearn.retrained_steps",
    "AIN": "relearn.ain",
    "MIA": "membership.unlearned.auc",
    "retrained MIA": "membership.retrained.auc",
    "JS forget": "divergence.forget",
    "s": "seconds.unlearn",
}
UNITS = {
    **dict.fromkeys((n for n in FIGURES if "D_" in n), "%"),
    **dict.fromkeys(("relearn", "retrained relearn"), "steps"),
    "JS forget": "bits",
    "s": "seconds",
}
_IDENTITY = ("status", "dataset", "model", "method", "access", "forget", "seed", "error")
# Config keys in which the runs of one cell may differ without being another setting.
_DRAWN = ("seed", "training.seed", "outputs", "run_dir", "force", "objective", "stack")


def load(folders: Sequence[Path]) -> pd.DataFrame:
    """One row for every record under the folders; hidden folders of unfinished runs are left out.

    Columns are `directory`, `command`, the record's identity (`status`, `method`, ...), every
    config key with its dots (`method.start`), and every figure of `FIGURES`.

    Raises:
        ConfigError: if a folder holds no record.
    """
    rows = []
    for folder in folders:
        paths = sorted(p for p in folder.rglob("record.json") if not _hidden(p.parent, folder))
        if not paths:
            raise ConfigError("outputs", folder, "holds no record.json")
        rows += [row(path) for path in paths]
    return pd.DataFrame(rows)


def _hidden(directory: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in directory.relative_to(folder).parts)


def row(path: Path) -> dict[str, Any]:
    """What a table can show of the record at a path."""
    record = json.loads(path.read_text())
    known: dict[str, Any] = {"directory": str(path.parent), "command": record.get("command")}
    known |= dict(_flat(record.get("config") or {}))
    known |= {key: _shown(record.get(key)) for key in _IDENTITY}
    return known | {name: _figure(record, place) for name, place in FIGURES.items()}


def _figure(record: Mapping[str, Any], path: str) -> float | None:
    value: Any = record
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return None if value is None else float(value)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, _shown(value)


def _shown(value: Any) -> Any:
    """Lists as text, so that they can be compared and grouped."""
    return ",".join(map(str, value)) if isinstance(value, list) else value


def check_keys(runs: pd.DataFrame, option: str, keys: Sequence[str]) -> None:
    """Raise `ConfigError` for a key that no record has, with those that look like it."""
    for key in keys:
        if key not in runs:
            near = difflib.get_close_matches(key, [str(c) for c in runs.columns], n=5, cutoff=0.4)
            raise ConfigError(option, key, f"no record has it; near it are {', '.join(near)}")


def only(runs: pd.DataFrame, conditions: Sequence[str]) -> pd.DataFrame:
    """The runs that meet every `KEY=VALUE`; `null` is a key that is off.

    Raises:
        ConfigError: for a condition that is none, names no key, or leaves nothing.
    """
    for condition in conditions:
        key, sign, value = condition.partition("=")
        if not sign:
            raise ConfigError("where", condition, "must be KEY=VALUE")
        check_keys(runs, "where", [key])
        runs = runs[runs[key].map(as_text) == value.strip("[]")]
        if runs.empty:
            raise ConfigError("where", condition, "no run is left")
    return runs


def as_text(value: Any) -> str:
    """A config value as a table and the command line write it."""
    if value is None or value != value:  # NaN, which pandas puts for None
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def mixed(runs: pd.DataFrame, keys: Sequence[str]) -> list[str]:
    """Config keys in which complete runs of one group differ, though the group is one setting."""
    complete = runs[runs["status"] == "complete"]
    about = {*FIGURES, *_IDENTITY, *_DRAWN, "directory", "command", *keys}
    candidates = [
        key
        for key in map(str, complete.columns)
        if key not in about
        and not key.startswith("tracking.")
        and complete[key].map(as_text).nunique() > 1
    ]
    if not candidates:
        return []
    texts = complete[candidates].map(as_text)
    groups = texts.groupby([complete[key].map(as_text) for key in keys])
    differing = groups.nunique().max() > 1
    return [key for key in candidates if differing[key]]
