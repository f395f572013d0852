"""Trained networks that others published: a folder laid out as the cache, read in place of it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unlearn.config.hashing import digest
from unlearn.errors import ConfigError

_MACHINE = "hardware"  # the determinant that another machine cannot repeat


def locate_published(folder: str | None, role: str, determinants: Mapping[str, Any]) -> Path | None:
    """Return where a published network of these determinants lies, whatever hardware trained it.

    Args:
        folder: The value of the key `networks`; None: nothing is published.
        role: `teacher` or `retrained`.
        determinants: What decides the network's weights, as plain values.

    Returns:
        The network's folder; None if it is not there.
    """
    if folder is None:
        return None
    place = Path(folder).expanduser() / name_published(role, determinants)
    return place if place.is_dir() else None


def require_published(folder: str | None) -> None:
    """Raise `ConfigError` if the value of the key `networks` is given and is no folder."""
    if folder is not None and not Path(folder).expanduser().is_dir():
        raise ConfigError("networks", folder, "is no folder")


def name_published(role: str, determinants: Mapping[str, Any]) -> str:
    """Return the name of a published network's folder."""
    shared = {key: value for key, value in determinants.items() if key != _MACHINE}
    return f"{role}-{digest(shared)}"


def publish(cached: Path, folder: Path, determinants: Mapping[str, Any]) -> Path:
    """Copy a network of the cache into a folder of published networks; return its place there."""
    place = folder / name_published(cached.name.partition("-")[0], determinants)
    place.mkdir(parents=True, exist_ok=True)
    for file in sorted(cached.glob("model.*")):
        shutil.copyfile(file, place / file.name)
    return place
