"""The most memory that was in use while something ran: of the process, and of the GPU's tensors."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch

_MIB = 2**20


@dataclass
class PeakMemory:
    """MiB at the worst moment of all blocks that were `watched`; None for what is not told.

    Args:
        device: on which tensors are.
        resident: of the process, with Python, its libraries, the data and the networks in it; it
            takes Linux to tell.
        added: the same beyond what was resident when this was made.
        cuda: of all tensors on the GPU, those from before among them.
    """

    device: torch.device
    resident: float | None = None
    added: float | None = None
    cuda: float | None = None

    def __post_init__(self) -> None:
        give_back()
        self._before = _resident("VmRSS")

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Take in what the block uses, and nothing that was used between two blocks."""
        on_gpu = self.device.type == "cuda"
        if on_gpu:
            torch.cuda.reset_peak_memory_stats(self.device)
        resets = _forget_peak()
        yield
        found: dict[str, float | None] = {}
        peak = _resident("VmHWM") if resets else None
        if peak is not None and self._before is not None:
            found |= {"resident": peak, "added": max(0.0, peak - self._before)}
        if on_gpu:
            found["cuda"] = torch.cuda.max_memory_allocated(self.device) / _MIB
        self.take_up(found)

    def plain(self) -> dict[str, float | None]:
        """The figures by their names."""
        return {"resident": self.resident, "added": self.added, "cuda": self.cuda}

    def take_up(self, found: Mapping[str, float | None]) -> None:
        """Take in the peaks of an earlier attempt, or of a block."""
        for name, value in found.items():
            known = [v for v in (getattr(self, name), value) if v is not None]
            setattr(self, name, max(known, default=None))


def give_back() -> None:
    """Let the system have what was freed, which else counts as resident."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # of glibc


def _forget_peak() -> bool:
    """Whether the system has forgotten the process's peak so far."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _resident(entry: str) -> float | None:
    """MiB that the process has (`VmRSS`) or had at most (`VmHWM`) in memory."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(entry)), None)
