"""Trained networks kept under the hash of what determines them, so that each is trained once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock
from torch import nn

from unlearn.config.schema import digest
from unlearn.models.checkpoint import CheckpointFormat, load_into
from unlearn.records.record import write_json


@dataclass(frozen=True)
class TrainingRequest:
    """A network to have trained.

    Args:
        determinants: everything that decides the weights, as plain values.
        network: freshly initialised, on the device; filled in place.
        figures: its test figures, kept beside it for the reader.
    """

    determinants: dict[str, Any]
    network: nn.Module
    figures: Callable[[nn.Module], dict[str, Any]]


def trained_once(
    folder: Path,
    role: str,
    wanted: Sequence[TrainingRequest],
    train: Callable[[list[int], Path], None],
) -> list[float]:
    """Load networks from the cache, or train those that are not there and put them there.

    Parallel callers wait for the first.

    Args:
        folder: of the cache.
        role: `teacher` or `retrained`.
        wanted: the networks.
        train: trains those of `wanted` with these numbers together, in place; it may keep what it
            has reached in the folder, which is the same when these are wanted again.

    Returns:
        The seconds that each one's training took, whenever that was: its share, if it was
        trained together with others.
    """
    places = [folder / f"{role}-{digest(want.determinants)}" for want in wanted]
    with ExitStack() as locks:
        for place in sorted(set(places)):  # in one order everywhere, so that nobody waits for ever
            place.mkdir(parents=True, exist_ok=True)
            locks.enter_context(FileLock(place / ".lock"))
        first = {place: index for index, place in reversed(list(enumerate(places)))}
        missing = sorted(i for place, i in first.items() if not (place / "model.json").exists())
        if missing:
            start = time.perf_counter()
            train(missing, places[missing[0]])
            seconds = (time.perf_counter() - start) / len(missing)
            for index in missing:
                _keep(places[index], wanted[index], seconds)
        for place, want in zip(places, wanted, strict=True):
            load_into(want.network, str(place / "model.safetensors"))
            want.network.eval()
        return [json.loads((place / "model.json").read_text())["seconds"] for place in places]


def _keep(place: Path, want: TrainingRequest, seconds: float) -> None:
    temporary = place / ".model.safetensors"
    CheckpointFormat().save(want.network, temporary)
    temporary.replace(place / "model.safetensors")
    note = {"seconds": seconds, "config": want.determinants, "accuracy": want.figures(want.network)}
    write_json(place / "model.json", note)
