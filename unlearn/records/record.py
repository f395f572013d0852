"""The record of a run, as a nested dict: reading, writing, and looking values up."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from unlearn.config.schema import RunConfig
from unlearn.errors import ConfigError
from unlearn.records.template import new_record

RECORD = "record.json"
_FIGURES = (
    *("accuracy", "relearn", "probe", "membership", "divergence"),
    *("onset", "proxy", "selection", "seconds", "audits_inside"),
)
_WITHOUT_DATA = {"proxy", "seconds"}
_NUMBERS = {"number", "integer", "boolean"}  # as the schema calls them
_SCHEMA = Path(__file__).with_name("record.schema.json")


def merge(record: dict[str, Any], figures: Mapping[str, Any]) -> None:
    """Lay figures over a record, level by level, in place."""
    for key, value in figures.items():
        if isinstance(value, Mapping) and isinstance(record.get(key), dict):
            merge(record[key], value)
        else:
            record[key] = value


def look_up(record: Mapping[str, Any], path: str) -> Any:
    """Return the value at a dotted path, or None if there is none."""
    value: Any = record
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def read_record(directory: Path) -> dict[str, Any] | None:
    """Return the record in a run directory, or None if there is none that can be read."""
    try:
        record: dict[str, Any] = json.loads((directory / RECORD).read_text())
    except (OSError, ValueError):
        return None
    return record


def write_json(path: Path, values: Any) -> None:
    """Write JSON to a temporary name of this process's own, then rename it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps(values, indent=2) + "\n")
    os.replace(temporary, path)


def check_objective(config: RunConfig, *, searched: bool = False) -> None:
    """Check that `objective` names a number in the record of this run.

    Args:
        config: The run.
        searched: Whether the run itself must also measure that number.

    Raises:
        ConfigError: If it does not.
    """
    path, metrics = config.objective, set(config.evaluation.metrics)
    if path is None:
        return
    figures = [name for name in _list_paths(new_record(config, "")) if _group(name) in _FIGURES]
    allowed = [name for name in figures if _is_number(name)]
    if searched:
        allowed = [name for name in allowed if _group(name) in {*metrics, "seconds"}]
        if config.dataset.factory is None:
            allowed = [name for name in allowed if _group(name) in _WITHOUT_DATA]
    if path not in allowed and _group(path) not in metrics - set(_FIGURES):
        why = "no number that this evaluation measures" if path in figures else "no figure"
        raise ConfigError("objective", path, f"{why}; allowed are {', '.join(allowed)}")


def _group(path: str) -> str:
    return path.partition(".")[0]


def _is_number(path: str) -> bool:
    """Return whether the public contract has a number at a dotted path."""
    contract = entry = _read_contract()
    for part in path.split("."):
        entry = entry["properties"][part]
        if "$ref" in entry:
            entry = contract["$defs"][entry["$ref"].rpartition("/")[2]]
    kinds = entry.get("type", ())
    return not _NUMBERS.isdisjoint([kinds] if isinstance(kinds, str) else kinds)


@cache
def _read_contract() -> dict[str, Any]:
    contract: dict[str, Any] = json.loads(_SCHEMA.read_text())
    return contract


def _list_paths(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return the dotted paths of all leaves."""
    paths = []
    for key, value in values.items():
        nested = isinstance(value, Mapping)
        paths += _list_paths(value, f"{prefix}{key}.") if nested else [f"{prefix}{key}"]
    return paths
