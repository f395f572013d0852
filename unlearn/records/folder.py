"""Run directories: locked, filled beside their final place, and renamed when complete."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from unlearn.config.schema import RunConfig
from unlearn.errors import ConfigError, RunError
from unlearn.files import make_folder, remove_leftovers, sync_folder
from unlearn.records.existing import check_names, is_complete, is_run
from unlearn.records.locks import hold
from unlearn.records.places import (
    RESUME,
    TOLD,
    failed_directory,
    lock_file,
    name_place,
    old_directory,
    partial_directory,
)
from unlearn.records.record import RECORD, read_record, write_json

_SPARE_BYTES = 8 * 2**20


@contextmanager
def lock_run(config: RunConfig, directory: Path) -> Iterator[None]:
    """Hold a run directory's lock, so that parallel jobs do the same run only once.

    What an attempt left that was killed while it renamed its results is put in order first.

    Raises:
        ConfigError: If the results could not be stored there under their name.
    """
    key, value = name_place(config)
    with ExitStack() as held:
        try:
            make_folder(directory.parent)
            held.enter_context(hold(lock_file(directory), directory))
        except OSError as error:
            raise ConfigError(key, value, f"cannot be written ({error.strerror})") from error
        try:
            _settle(directory)
        except OSError as error:
            reason = f"{directory} cannot be replaced ({error.strerror})"
            raise ConfigError(key, value, reason) from error
        check_names(config, directory, settled=True)
        yield


def _settle(directory: Path) -> None:
    """Finish what a killed process had begun to rename; the caller holds the lock."""
    work, old = partial_directory(directory), old_directory(directory)
    if directory.is_symlink() or work.is_symlink() or old.is_symlink():
        return
    if is_complete(old) and not is_complete(directory):
        if directory.exists():
            _store(directory, failed_directory(directory))
        old.rename(directory)
    shutil.rmtree(old, ignore_errors=True)
    if is_complete(work):
        _give_name(work, directory)


@contextmanager
def fill_directory(directory: Path, record: Mapping[str, Any], force: bool) -> Iterator[Path]:
    """Yield a hidden folder to fill, and rename it to `directory` when the block ends.

    A complete run is replaced only by another complete run: a failed attempt is stored beside it
    as `NAME.failed`, until a later attempt ends. If the block raises, nothing is renamed. The run
    goes on from the checkpoint that a killed or failed attempt left, unless `force` is set. The
    caller holds the lock.

    Args:
        directory: The run directory.
        record: The record of the run as it starts; written into the folder at once.
        force: Whether to discard what an earlier attempt left.

    Raises:
        RunError: If the folder cannot be renamed at the end; the results stay in it.
    """
    work = partial_directory(directory)
    left = read_record(work) or {}
    if force or left.get("config_hash") != record["config_hash"]:
        shutil.rmtree(work, ignore_errors=True)
    work.mkdir(exist_ok=True)
    remove_leftovers(work, locked=True)
    if not force and not (work / RESUME).exists():
        for earlier in (failed_directory(directory), directory):
            if (read_record(earlier) or {}).get("config_hash") == record["config_hash"]:
                _take_over(earlier, work)
    write_json(work / RECORD, record)
    yield work
    remove_leftovers(work, locked=True)
    try:
        _give_name(work, directory)
    except OSError as error:
        raise RunError(
            f"{directory}: the results cannot get this name ({error.strerror}); they are in {work}"
        ) from error


def _take_over(earlier: Path, work: Path) -> None:
    """Let an attempt go on from the checkpoint of one that failed."""
    for name in (RESUME, TOLD):
        source, target = earlier / name, work / name
        if source.is_file():
            target.unlink(missing_ok=True)
            try:
                os.link(source, target)  # a checkpoint is only ever replaced, never changed
            except OSError:
                with suppress(OSError):
                    shutil.copyfile(source, target)


def _give_name(work: Path, directory: Path) -> None:
    """Rename a filled folder to its run directory, or to that of a failed attempt."""
    old, failed = old_directory(directory), failed_directory(directory)
    if is_complete(work):
        for name in (RESUME, TOLD):
            (work / name).unlink(missing_ok=True)
    if is_complete(directory) and not is_complete(work):
        _store(work, failed)
        return
    if directory.exists():
        directory.rename(old)
    work.rename(directory)
    sync_folder(directory.parent)
    shutil.rmtree(old, ignore_errors=True)
    if failed.is_dir() and is_run(failed):
        shutil.rmtree(failed)


def _store(folder: Path, failed: Path) -> None:
    """Rename a folder to that of a failed attempt, in place of an earlier one."""
    if failed.is_dir() and is_run(failed):
        shutil.rmtree(failed)
    folder.rename(failed)
    sync_folder(failed.parent)


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
