"""Where a run's files are: its directory, and the names beside it that it has on its way."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from unlearn.config.hashing import config_hash, digest
from unlearn.config.schema import RunConfig
from unlearn.records.locks import is_held
from unlearn.records.record import read_record

# What a run on its way keeps in its folder, so that another attempt can go on from there.
RESUME, TOLD = "resume.pt", "told.json"


def locate_run(config: RunConfig) -> tuple[str, Path]:
    """Return the hash that names a run, and its directory.

    The directory is `run_dir` if that is set, otherwise one below `outputs`. Its name has the
    first eight digits of the hash, and all of them if another run has that name already.
    """
    identity = config_hash(config, _digest_file(config.model.checkpoint))
    if config.run_dir is not None:
        return identity, Path(config.run_dir).expanduser().absolute()
    forget = "forget-" + "-".join(str(c) for c in config.forget)
    setting = f"{config.dataset.name}-{config.model.name}"
    place = Path(config.outputs).absolute() / setting / config.method.name / forget
    short = place / f"seed-{config.seed}-{identity[:8]}"
    holders = {(read_record(f) or {}).get("config_hash") for f in (short, partial_directory(short))}
    taken = bool(holders - {None, identity})
    return identity, place / f"seed-{config.seed}-{identity}" if taken else short


def _digest_file(path: str | None) -> str | None:
    if path is None:
        return None
    file = Path(path).expanduser()
    if file.is_dir():  # a Hugging Face folder
        parts = [part for part in sorted(file.iterdir()) if part.is_file()]
        return digest([(p.name, _digest_contents(p, p.stat().st_mtime_ns)) for p in parts])
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


def old_directory(directory: Path) -> Path:
    """Return the hidden name of a run directory that another one is about to replace."""
    return directory.parent / f".{directory.name}.old"


def failed_directory(directory: Path) -> Path:
    """Return where a failed attempt at a run is stored that is complete already."""
    return directory.with_name(f"{directory.name}.failed")


def lock_file(directory: Path) -> Path:
    """Return the file whose lock a process holds while it does the run."""
    return directory.parent / f".{directory.name}.lock"


def is_locked(directory: Path) -> bool:
    """Return whether a process holds a run directory's lock, so that the run is going on."""
    return is_held(lock_file(directory))


def name_place(config: RunConfig) -> tuple[str, str]:
    """Return the key that says where the results go, and its value."""
    if config.run_dir is not None:
        return "run_dir", config.run_dir
    return "outputs", config.outputs
