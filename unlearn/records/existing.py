"""What is in a run directory already: this run or another, complete or damaged. Writes nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unlearn.config.schema import RunConfig
from unlearn.errors import ConfigError
from unlearn.files import report_damage
from unlearn.records.places import (
    RESUME,
    failed_directory,
    name_place,
    old_directory,
    partial_directory,
)
from unlearn.records.record import RECORD, read_record

_WRITTEN = {"config.yaml", "history.parquet", "figures", "wandb", RESUME}


def find_finished(config: RunConfig, directory: Path, identity: str) -> dict[str, Any] | None:
    """Return the complete record of this very run, or None if it has to be run.

    Needs neither the lock nor the right to write.

    Raises:
        ConfigError: If the directory holds something that is no run, or holds another run and
            `force` is not set.
    """
    record = read_record(directory)
    check_owner(config, directory, record, identity)
    if config.force or record is None or not is_finished(directory, record, identity):
        return None
    return record


def check_owner(
    config: RunConfig, directory: Path, record: Mapping[str, Any] | None, identity: str
) -> None:
    """Check that a run directory is free, or this run's own.

    Raises:
        ConfigError: If it holds something that is no run, or holds another run. With `force`, the
            other run in a `run_dir` may be replaced.
    """
    key, value = name_place(config)
    if record is None:
        if directory.exists() and not directory.is_dir():
            raise ConfigError(key, value, "is a file; allowed is a folder")
        if directory.exists() and not is_run(directory):
            raise ConfigError("run_dir", directory, "holds files that are no run; name another")
    elif record["config_hash"] != identity and not (config.force and config.run_dir is not None):
        raise ConfigError(
            "run_dir", directory, "holds a run of another config; name another, or set force=true"
        )


def is_complete(directory: Path) -> bool:
    """Return whether a folder holds the record of a complete run."""
    return (read_record(directory) or {}).get("status") == "complete"


def is_run(directory: Path) -> bool:
    """Return whether a folder is empty, or holds a run, its record readable or not."""
    names = {path.name for path in directory.iterdir()}
    seen = {name for name in names if not name.startswith(".")}
    if RECORD not in names:
        return not names
    beside = seen - {RECORD}
    return not beside or any(n in _WRITTEN or n.partition(".")[0] == "student" for n in beside)


def check_names(config: RunConfig, directory: Path, *, settled: bool = False) -> None:
    """Check that nothing stands where a run directory is filled, stored and replaced.

    Args:
        config: The run.
        directory: Its directory.
        settled: Whether `NAME.old` was put in order, so that nothing may be left of it.

    Raises:
        ConfigError: If a link, a file, a mount point or a folder that is no run does.
    """
    key, value = name_place(config)
    if directory.is_symlink():
        raise ConfigError(
            key,
            value,
            f"{directory} is a link; remove it, or set run_dir to the folder that it points to",
        )
    if directory.is_dir() and os.path.ismount(directory):
        raise ConfigError(key, value, f"{directory} is a mount point; give a folder inside it")
    work, old, failed = (
        name(directory) for name in (partial_directory, old_directory, failed_directory)
    )
    usable = {
        work: _is_real_folder(work),
        old: _is_real_folder(old) and not settled,
        failed: _is_real_folder(failed) and is_run(failed),
    }
    for path, replaceable in usable.items():
        if os.path.lexists(path) and not replaceable:
            raise ConfigError(key, value, f"{path} is in the way and cannot be replaced; remove it")


def _is_real_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def find_record(directory: Path) -> tuple[Path, dict[str, Any] | None]:
    """Return the record of a run and the folder that it is in, wherever a killed attempt left it.

    The next attempt finds the same, after it has put the folders in order.
    """
    for folder in (partial_directory(directory), directory, old_directory(directory)):
        record = read_record(folder)
        if record is not None and record["status"] == "complete":
            return folder, record
    return directory, read_record(directory)


def is_finished(folder: Path, record: Mapping[str, Any], identity: str) -> bool:
    """Return whether a record is that of this very run, complete, with undamaged files beside it.

    A file that was removed since counts as undamaged.
    """
    if record["status"] != "complete" or record["config_hash"] != identity:
        return False
    students = [*folder.glob("student.*"), *folder.glob("student/*")]
    for file in (folder / "config.yaml", folder / "history.parquet", *students):
        reason = _find_damage(file)
        if reason is not None:
            report_damage(file, reason, "the run counts as not done")
            return False
    return True


def _find_damage(path: Path) -> str | None:
    """Return what a power cut or a full disk did to a file; None if nothing shows at its ends."""
    try:
        with path.open("rb") as file:
            first = file.read(64)
            file.seek(-min(4, len(first)), os.SEEK_END)
            last = file.read(4)
    except IsADirectoryError:
        return "a folder"
    except OSError:  # not there, or not ours to read
        return None
    if not first:
        return "empty"
    if not first.strip(b"\0"):
        return "nothing but zeros"
    if path.suffix == ".parquet" and (first[:4], last) != (b"PAR1", b"PAR1"):
        return "not a whole Parquet file"
    return None
