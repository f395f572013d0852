"""Trained networks kept under the hash of what determines them, so that each is trained once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock
from torch import nn

from unlearn.config import digest
from unlearn.models.checkpoint import CheckpointFormat, load_into
from unlearn.record import write_json


@dataclass(frozen=True)
class Trained:
    """A trained network and the seconds that its training took, whenever that was."""

    network: nn.Module
    seconds: float


def trained_once(
    folder: Path,
    role: str,
    determinants: dict[str, Any],
    network: nn.Module,
    train: Callable[[nn.Module], None],
    figures: Callable[[nn.Module], dict[str, Any]],
) -> Trained:
    """Load a network from the cache, or train it and put it there.

    Parallel callers wait for the first. A network that was cut off in training is trained anew.

    Args:
        folder: of the cache.
        role: `teacher` or `retrained`.
        determinants: everything that decides the weights, as plain values.
        network: freshly initialised; filled in place.
        train: trains it in place.
        figures: its test figures, kept beside it for the reader.
    """
    place = folder / f"{role}-{digest(determinants)}"
    weights, note = place / "model.safetensors", place / "model.json"
    place.mkdir(parents=True, exist_ok=True)
    with FileLock(place / ".lock"):
        if note.exists():
            load_into(network, str(weights))
            return Trained(network.eval(), json.loads(note.read_text())["seconds"])
        start = time.perf_counter()
        train(network)
        seconds = time.perf_counter() - start
        temporary = weights.with_name(".model.safetensors")
        CheckpointFormat().save(network, temporary)
        temporary.replace(weights)
        write_json(note, {"seconds": seconds, "config": determinants, "accuracy": figures(network)})
    return Trained(network.eval(), seconds)
