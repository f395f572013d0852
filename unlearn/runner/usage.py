"""What a method uses: real rows and their labels, test accuracies, and memory."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from unlearn.data.ledger import Ledger
from unlearn.data.tensors import Access, Data, Split
from unlearn.protocol import Observed

_MIB = 2**20


@dataclass
class PeakMemory:
    """The largest memory in use, in MiB, over all blocks that were measured; None if unknown.

    Args:
        device: Where tensors are.
        resident: Peak resident memory of the process, libraries included. Needs Linux.
        added: The same beyond what was resident when this object was made.
        cuda: Peak memory of all tensors on the GPU.
    """

    device: torch.device
    resident: float | None = None
    added: float | None = None
    cuda: float | None = None
    _before: float | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        release_memory()
        self._before = _read_resident("VmRSS")

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Measure the peak of the block alone."""
        on_gpu = self.device.type == "cuda"
        if on_gpu:
            torch.cuda.reset_peak_memory_stats(self.device)
        resets = _reset_peak()
        yield
        found: dict[str, float | None] = {}
        peak = _read_resident("VmHWM") if resets else None
        if peak is not None and self._before is not None:
            found |= {"resident": peak, "added": max(0.0, peak - self._before)}
        if on_gpu:
            found["cuda"] = torch.cuda.max_memory_allocated(self.device) / _MIB
        self.restore(found)

    def plain(self) -> dict[str, float | None]:
        """Return the figures by their names."""
        return {"resident": self.resident, "added": self.added, "cuda": self.cuda}

    def restore(self, found: Mapping[str, float | None]) -> None:
        """Take in the peaks of an earlier attempt, or of a block."""
        for name, value in found.items():
            known = [v for v in (getattr(self, name), value) if v is not None]
            setattr(self, name, max(known, default=None))


@dataclass
class Usage:
    """Counts from the first step of a method to its last, through interruptions.

    Args:
        data: The real images, or None.
        device: Where tensors are.
        told: How often the method was told test accuracies of its student.
    """

    data: Data | None
    device: torch.device
    told: int = 0
    memory: PeakMemory = field(init=False)
    ledger: Ledger | None = field(init=False)

    def __post_init__(self) -> None:
        self.memory = PeakMemory(self.device)
        self.ledger = None if self.data is None else self.data.blank_ledger()

    def grant(self, access: Access, forget: tuple[int, ...]) -> Split | None:
        """Return the training rows that the access grants; the ledger counts what is read."""
        return None if self.data is None else self.data.view(access, forget, self.ledger)

    @contextmanager
    def sealed(self) -> Iterator[None]:
        """Seal all real images that were not granted, and measure the memory of the block."""
        with self.memory.measuring(), nullcontext() if self.data is None else self.data.sealed():
            yield

    def tell(self, seen: Mapping[str, Any]) -> Observed:
        """Return test accuracies (percent) for the method, and count that it was told."""
        self.told += 1
        return Observed(seen["retain"], seen["forget"])

    def plain(self) -> dict[str, Any]:
        """Return the counts so far, to be kept for a run that is interrupted."""
        ledger = None if self.ledger is None else self.ledger.plain()
        return {"told": self.told, "memory": self.memory.plain(), "ledger": ledger}

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Go on from the counts of an earlier attempt."""
        self.told = kept["told"]
        self.memory.restore(kept["memory"])
        if self.ledger is not None:
            self.ledger.restore(kept["ledger"])

    def figures(self) -> dict[str, Any]:
        """Return the record's entries; the data must not be sealed."""
        counts: dict[str, Any] = {"told": self.told}
        if self.ledger is not None and self.data is not None:
            counts |= self.ledger.counts(self.data.train.labels, self.data.num_classes)
        return {"ledger": counts, "peak_memory": self.memory.plain()}


def release_memory() -> None:
    """Return freed memory to the system; otherwise it counts as resident."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # glibc only


def _reset_peak() -> bool:
    """Reset the process's peak memory; return whether the system allows that."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _read_resident(entry: str) -> float | None:
    """Return the process's memory in MiB: now (`VmRSS`) or at its peak (`VmHWM`)."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(entry)), None)
