"""Run directories: locked, filled beside their final place, and renamed when complete."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from unlearn.config.schema import RunConfig, config_hash
from unlearn.errors import ConfigError
from unlearn.records.record import RECORD, read_record, write_json

_SPARE_BYTES = 8 * 2**20


def locate_run(config: RunConfig) -> tuple[str, Path]:
    """Return the hash that names a run, and its directory.

    The directory is `run_dir` if that is set, otherwise one below `outputs`.
    """
    identity = config_hash(config, _digest_file(config.model.checkpoint))
    if config.run_dir is not None:
        return identity, Path(config.run_dir).expanduser().absolute()
    forget = "forget-" + "-".join(str(c) for c in config.forget)
    setting = f"{config.dataset.name}-{config.model.name}"
    leaf = f"seed-{config.seed}-{identity[:8]}"
    return identity, Path(config.outputs).absolute() / setting / config.method.name / forget / leaf


def _digest_file(path: str | None) -> str | None:
    if path is None:
        return None
    file = Path(path).expanduser()
    if not file.is_file():
        return path  # the missing file is reported when it is read
    return _digest_contents(file, file.stat().st_mtime_ns)


@cache
def _digest_contents(file: Path, changed: int) -> str:
    """Digest a file that was last changed at time `changed`; the runs of a sweep share it."""
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


def partial_directory(directory: Path) -> Path:
    """Return the hidden folder in which a run directory is filled before it gets its name."""
    return directory.parent / f".{directory.name}.partial"


def is_locked(directory: Path) -> bool:
    """Return whether another process holds a run directory's lock, so that the run is going on."""
    lock = directory.parent / f".{directory.name}.lock"
    if not lock.exists():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True


@contextmanager
def lock_run(config: RunConfig, directory: Path) -> Iterator[None]:
    """Hold a run directory's lock, so that parallel jobs do the same run only once.

    Raises:
        ConfigError: If `outputs` or `run_dir` cannot be written.
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


def find_finished(config: RunConfig, directory: Path, identity: str) -> dict[str, Any] | None:
    """Return the complete record of this very run, or None if it has to be run.

    Raises:
        ConfigError: If the directory holds something that is no run, or holds another run and
            `force` is not set.
    """
    record = read_record(directory)
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
def fill_directory(directory: Path, record: Mapping[str, Any], force: bool) -> Iterator[Path]:
    """Yield a hidden folder to fill, and rename it to `directory` when the block ends.

    A complete run is replaced only by another complete run: a failed attempt is stored beside it
    as `NAME.failed`, until a later attempt ends. If the block raises, nothing is renamed. What a
    killed attempt at the same run left in the hidden folder is kept, so that the run can go on
    from it, unless `force` is set. The caller holds the lock.

    Args:
        directory: The run directory.
        record: The record of the run as it starts; written into the folder at once.
        force: Whether to discard what an earlier attempt left.
    """
    work = partial_directory(directory)
    old = directory.parent / f".{directory.name}.old"
    shutil.rmtree(old, ignore_errors=True)
    left = read_record(work) or {}
    if force or left.get("config_hash") != record["config_hash"]:
        shutil.rmtree(work, ignore_errors=True)
    work.mkdir(exist_ok=True)
    write_json(work / RECORD, record)
    yield work
    place, failed = directory, directory.with_name(f"{directory.name}.failed")
    if read_record(failed) is not None:
        shutil.rmtree(failed)
    if _is_complete(directory) and not _is_complete(work):
        place = failed
    elif directory.exists():
        directory.rename(old)
    work.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def _is_complete(directory: Path) -> bool:
    return (read_record(directory) or {}).get("status") == "complete"


def require_space(key: str, value: str, folder: Path, needed: int) -> None:
    """Check before any work that the results will fit on the disk.

    Args:
        key: Config key that names the folder.
        value: The key's value.
        folder: Where the results go; it need not exist yet.
        needed: Size of the results in bytes.

    Raises:
        ConfigError: If fewer than `needed` bytes plus 8 MiB are free.
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
