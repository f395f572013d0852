"""Run directories: claimed under a lock, filled beside their final place, renamed when complete."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from unlearn.config.schema import RunConfig, config_hash
from unlearn.errors import ConfigError, RunError
from unlearn.records.template import new_record

RECORD = "record.json"
_FIGURES = (
    *("accuracy", "relearn", "probe", "membership", "divergence"),
    *("onset", "proxy", "selection", "seconds", "audits_inside"),
)
_NUMBERS = {"number", "integer", "boolean"}  # as the schema calls them
_SCHEMA = Path(__file__).with_name("record.schema.json")
_SPARE_BYTES = 8 * 2**20


def merge(record: dict[str, Any], figures: Mapping[str, Any]) -> None:
    """Lay figures over a record, level by level, in place."""
    for key, value in figures.items():
        if isinstance(value, Mapping) and isinstance(record.get(key), dict):
            merge(record[key], value)
        else:
            record[key] = value


def check_objective(config: RunConfig, *, searched: bool = False) -> None:
    """Raise `ConfigError` if `objective` cannot be a number of this run's record.

    Args:
        config: of the run.
        searched: whether it must also be one that this run measures.
    """
    path, metrics = config.objective, set(config.evaluation.metrics)
    if path is None:
        return
    figures = [name for name in _paths(new_record(config, "")) if name.split(".")[0] in _FIGURES]
    allowed = [name for name in figures if _is_number(name)]
    if searched:
        allowed = [name for name in allowed if name.split(".")[0] in {*metrics, "seconds"}]
    if path not in allowed and path.split(".")[0] not in metrics - set(_FIGURES):
        why = "no number that this evaluation measures" if path in figures else "no figure"
        raise ConfigError("objective", path, f"{why}; allowed are {', '.join(allowed)}")


def _is_number(path: str) -> bool:
    """Whether the public contract has a number at a dotted path."""
    contract = entry = _contract()
    for part in path.split("."):
        entry = entry["properties"][part]
        if "$ref" in entry:
            entry = contract["$defs"][entry["$ref"].rpartition("/")[2]]
    kinds = entry.get("type", ())
    return not _NUMBERS.isdisjoint([kinds] if isinstance(kinds, str) else kinds)


@cache
def _contract() -> dict[str, Any]:
    contract: dict[str, Any] = json.loads(_SCHEMA.read_text())
    return contract


def look_up(record: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path, None if there is none."""
    value: Any = record
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def place(config: RunConfig) -> tuple[str, Path]:
    """The hash that names a run, and its directory: `run_dir` exactly, or one under `outputs`."""
    identity = config_hash(config, _file_digest(config.model.checkpoint))
    if config.run_dir is not None:
        return identity, Path(config.run_dir).expanduser().absolute()
    forget = "forget-" + "-".join(str(c) for c in config.forget)
    setting = f"{config.dataset.name}-{config.model.name}"
    leaf = f"seed-{config.seed}-{identity[:8]}"
    return identity, Path(config.outputs).absolute() / setting / config.method.name / forget / leaf


def _file_digest(path: str | None) -> str | None:
    if path is None:
        return None
    file = Path(path).expanduser()
    if not file.is_file():
        return path  # the missing file is reported when it is read
    return _digest_of(file, file.stat().st_mtime_ns)


@cache
def _digest_of(file: Path, changed: int) -> str:
    """Digest of a file that was last changed at some time; the runs of a sweep share one."""
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


def partial_of(directory: Path) -> Path:
    """Where a run directory is filled before it has its name."""
    return directory.parent / f".{directory.name}.partial"


def read(directory: Path) -> dict[str, Any] | None:
    """The record in a run directory, or None if there is none that can be read."""
    try:
        record: dict[str, Any] = json.loads((directory / RECORD).read_text())
    except (OSError, ValueError):
        return None
    return record


def is_claimed(directory: Path) -> bool:
    """Whether somebody holds a run directory's lock, so that it is being run."""
    lock = directory.parent / f".{directory.name}.lock"
    if not lock.exists():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True


@contextmanager
def claimed(config: RunConfig, directory: Path) -> Iterator[None]:
    """Hold a run directory's lock, so that parallel jobs do the same run once.

    Raises:
        ConfigError: naming `outputs` or `run_dir` if it cannot be written.
    """
    key = "run_dir" if config.run_dir is not None else "outputs"
    value = config.run_dir or config.outputs
    if directory.exists() and not directory.is_dir():
        raise ConfigError(key, value, "is a file; allowed is a folder")
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(directory.parent / f".{directory.name}.lock")
        lock.acquire()
    except OSError as error:
        raise ConfigError(key, value, f"cannot be written ({error.strerror})") from error
    try:
        yield
    finally:
        lock.release()


def finished(config: RunConfig, directory: Path, identity: str) -> dict[str, Any] | None:
    """The complete record of this very run, or None if it is to be run.

    Raises:
        ConfigError: if the directory holds what is no run, or another run and `force` is not set.
    """
    record = read(directory)
    if record is None or "config_hash" not in record:
        if directory.exists() and any(directory.iterdir()):
            raise ConfigError("run_dir", directory, "holds files that are no run; name another")
        return None
    if config.force:
        return None
    if record.get("config_hash") != identity:
        raise ConfigError(
            "run_dir", directory, "holds a run of another config; name another, or set force=true"
        )
    return record if record.get("status") == "complete" else None


@contextmanager
def writing(directory: Path, record: Mapping[str, Any], force: bool) -> Iterator[Path]:
    """A hidden folder to fill; renamed to `directory` when the block ends without an error.

    A complete record gives way to none but a complete one: what fails is put beside it, under
    the same name with `.failed` after it, until a later attempt ends. What a killed attempt at
    the same run left in the hidden folder is kept, to go on from, unless `force`. Until it ends,
    the folder holds the record as it was at the start. The caller holds the lock.
    """
    work = partial_of(directory)
    old = directory.parent / f".{directory.name}.old"
    shutil.rmtree(old, ignore_errors=True)
    left = read(work) or {}
    if force or left.get("config_hash") != record["config_hash"]:
        shutil.rmtree(work, ignore_errors=True)
    work.mkdir(exist_ok=True)
    write_json(work / RECORD, record)
    yield work
    place, failed = directory, directory.with_name(f"{directory.name}.failed")
    if read(failed) is not None:
        shutil.rmtree(failed)
    if _complete(directory) and not _complete(work):
        place = failed
    elif directory.exists():
        directory.rename(old)
    work.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def _complete(directory: Path) -> bool:
    return (read(directory) or {}).get("status") == "complete"


def write_json(path: Path, values: Any) -> None:
    """Write JSON to a temporary name of this process's own and rename it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps(values, indent=2) + "\n")
    os.replace(temporary, path)


def require_space(key: str, value: str, folder: Path, needed: int) -> None:
    """Check before any work that the results will fit.

    Raises:
        ConfigError: naming `key` if less than `needed` bytes and a few MiB are free.
    """
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < needed + _SPARE_BYTES:
        raise ConfigError(
            key,
            value,
            f"{free / 2**20:.1f} MiB free; at least {(needed + _SPARE_BYTES) / 2**20:.1f} needed",
        )


def disk_full(error: Exception) -> bool:
    """Whether there was no room, whichever library met that."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return full or "No space left on device" in str(error)


def explained(error: Exception, outputs: str) -> Exception:
    """A full disk as one line, whichever library met it; any other error as it is."""
    if disk_full(error):
        return RunError(f"outputs={outputs}: the disk is full; free some space and run again")
    return error


def _paths(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The dotted paths of all leaves."""
    paths = []
    for key, value in values.items():
        nested = isinstance(value, Mapping)
        paths += _paths(value, f"{prefix}{key}.") if nested else [f"{prefix}{key}"]
    return paths
