"""The precision and the memory format that pay on this machine for these images. Needs no torch.

The choice stands in the run's config in place of `auto`, and so in its record, its hash and the
cache keys of its networks. It follows from the machine and the images alone, and is never timed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

_LEAST_SIDE = 32  # pixels of a colour image from which bfloat16 pays
_FAST = {"avx512_bf16", "amx_bf16"}  # processors that multiply in bfloat16


def choose_arithmetic(hardware: Any, shape: Any, fast: bool) -> Any:
    """Return the section `hardware` with a choice in place of each `auto`.

    On images of one channel, or of fewer than 32 pixels a side, the choice is float32 in the
    default memory format: bfloat16 saves little time on their convolutions.

    Args:
        hardware: The section, as typed.
        shape: Channels, height and width of an image, as typed.
        fast: Whether the machine multiplies in bfloat16.
    """
    if not isinstance(hardware, Mapping):
        return hardware
    whole = isinstance(shape, list | tuple) and [type(size) for size in shape] == [int] * 3
    pays = fast and whole and shape[0] > 1 and min(shape[1:]) >= _LEAST_SIDE
    chosen = {"autocast": "bfloat16" if pays else None, "channels_last": pays}
    return {k: chosen[k] if k in chosen and v == "auto" else v for k, v in hardware.items()}


def multiplies_in_bfloat16(device: object) -> bool:
    """Whether this machine has such instructions.

    Args:
        device: `cpu`: the processor alone counts; otherwise an NVIDIA GPU counts, too.
    """
    if device != "cpu" and Path("/proc/driver/nvidia/version").exists():
        return True
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return False
    flags = next((line for line in lines if line.startswith("flags")), "")
    return not _FAST.isdisjoint(flags.split())
