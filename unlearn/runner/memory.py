"""Names the batch size that would fit, where a batch does not fit into memory."""

from __future__ import annotations

import gc
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from unlearn.config.schema import RunConfig
from unlearn.errors import RunError
from unlearn.hardware import Hardware
from unlearn.models.copies import copy_network

# What torch says on a CPU, on Linux and on Windows, and what oneDNN and C++ say.
_FULL = ("can't allocate memory", "not enough memory", "could not create a primitive", "bad_alloc")


@contextmanager
def explaining_memory(
    config: RunConfig, part: str, network: nn.Module, hardware: Hardware
) -> Iterator[None]:
    """Turn an error for want of memory into one line with the batch size that would fit.

    Args:
        config: The run.
        part: The section whose batch size is in use: `training` or `method`.
        network: A network of the kind that is trained; a copy of it is tried.
        hardware: The device, precision and memory format.

    Raises:
        RunError: If memory was short in the block.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)  # they hold the batch
    else:
        return
    gc.collect()
    key, size = _find_batch(config, part)
    fits = _find_fitting(size, network, config.dataset.shape, hardware)
    advice = f"a batch of about {fits} would" if fits else "not even a batch of 1 would"
    raise RunError(f"{key}={size}: a batch does not fit into memory; {advice}")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory was short, whichever library raised it."""
    short = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return short or any(words in str(error) for words in _FULL)


def _find_batch(config: RunConfig, part: str) -> tuple[str, int]:
    """Return the key and the value of the largest batch size of a section."""
    values = config.plain()[part]
    sizes = {k: v for k, v in values.items() if "batch" in k and type(v) is int}
    key = max(sizes, key=lambda name: sizes[name], default="batch_size")
    return f"{part}.{key}", sizes.get(key, 1)


def _find_fitting(
    size: int, network: nn.Module, shape: tuple[int, int, int], hardware: Hardware
) -> int:
    """Return a quarter of the first halved size that passes forward and backward; 0 if none does.

    The rest is left for what a method keeps beside the network: a teacher, a generator.
    """
    while size > 1:
        try:
            trial = copy_network(network).requires_grad_(True).train()
            hardware.run(trial, torch.zeros(size, *shape, device=hardware.device)).sum().backward()
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            size //= 2
        else:
            return max(1, size // 4)
    return 0
