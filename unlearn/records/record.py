"""The record of a run, as a nested dict: reading, writing, and looking values up."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from unlearn.config.schema import RunConfig
from unlearn.errors import ConfigError
from unlearn.files import replace_file, report_damage
from unlearn.records.template import new_record

RECORD = "record.json"
_FIGURES = (
    *("accuracy", "relearn", "probe", "membership", "divergence"),
    *("onset", "proxy", "selection", "seconds", "audits_inside"),
)
# Groups of the record that metrics fill, and those that the runner fills later.
_METRICS = {*_FIGURES} - {"seconds", "audits_inside"}
_LATER = {"published"}
_WITHOUT_DATA = {"proxy", "seconds"}
STATUSES = ("unfinished", "failed", "complete")
_NETWORKS = ("original", "retrained", "unlearned")
_PARTS = ("test.retain", "test.forget", "train.retain", "train.forget")
# What the record of a complete run holds at least: all that is printed of a run.
_FACTS = ("dataset", "model", "method", "forget", "seed", "config", "alarms")
_MEASURED = (
    *(f"accuracy.{name}.{part}" for name in _NETWORKS for part in _PARTS),
    *(f"membership.{name}.auc" for name in _NETWORKS),
    *("relearn.retrained_steps", "relearn.unlearned_steps", "relearn.ain"),
    *("divergence.retain", "divergence.forget", "proxy.retain", "proxy.forget"),
    *("seconds.teacher", "seconds.retrained", "seconds.unlearn", "seconds.total"),
)
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
    """Return the record in a run directory, or None if there is none that can be used.

    A record that is torn, or lacks what every record has, is reported once and counts as absent.
    """
    file = directory / RECORD
    try:
        if file.exists() and not file.is_file():
            raise ValueError("no regular file")
        record = json.loads(file.read_text())
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        fault: str | None = "empty" if _is_empty(file) else f"not JSON: {error}"
    else:
        fault = _find_fault(record)
    if fault is None:
        return dict(record)
    report_damage(file, fault, "the run counts as not done")
    return None


def _is_empty(file: Path) -> bool:
    try:
        return file.stat().st_size == 0
    except OSError:
        return False


def _find_fault(record: Any) -> str | None:
    """Return what is wrong with a record, None if nothing is."""
    if not isinstance(record, dict):
        return "not a JSON object"
    if record.get("status") not in STATUSES:
        return "has no status"
    if not isinstance(record.get("config_hash"), str):
        return "has no config_hash"
    if record["status"] == "complete":
        absent = [name for name in _FACTS if record.get(name) is None]
        absent += [path for path in _MEASURED if not _holds_figure(record, path)]
        return f"has no {absent[0]}" if absent else None
    return None


def _holds_figure(record: Mapping[str, Any], path: str) -> bool:
    """Return whether there is a number, or None for what was not measured, at a dotted path."""
    value: Any = record
    for part in path.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return False
        value = value[part]
    return value is None or isinstance(value, int | float)


def write_json(path: Path, values: Any) -> None:
    """Write JSON so that a reader finds the old file or the whole new one."""
    text = json.dumps(values, indent=2) + "\n"
    replace_file(path, lambda temporary: temporary.write_text(text))


def check_metric_names(config: RunConfig) -> None:
    """Check that no metric has the name of a part of the record that is not a metric's.

    Its figures would be laid over that part.

    Raises:
        ConfigError: If one has.
    """
    reserved = (new_record(config, "").keys() | _LATER) - _METRICS
    for name in config.evaluation.metrics:
        if name in reserved:
            allowed = (
                f"is a key of the record; allowed is any name but {', '.join(sorted(reserved))}"
            )
            raise ConfigError("evaluation.metrics", name, allowed)


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
