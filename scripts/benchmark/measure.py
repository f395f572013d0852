"""Measures the time, the operations and the memory of programs, and the shares of their parts."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function
from torch.utils.flop_counter import FlopCounterMode

from unlearn.runner.usage import PeakMemory

_PART = "part: "
_BACKWARD = "autograd::engine::evaluate_function"


@dataclass
class Timing:
    """How long the programs are timed.

    Args:
        rounds: The number of pairs of turns: published, ours, published, ours, ...
        warmup: The number of steps of each program before the first turn.
        least: The least seconds of a turn; steps are repeated until then.
        published_steps: The steps of the published inversion, for each batch of images.
    """

    rounds: int = 5
    warmup: int = 1
    least: float = 1.0
    published_steps: int = 2000


@dataclass(frozen=True)
class Program:
    """Something to be timed.

    Args:
        step: Does one step of the setting.
        whole: The number of steps of the whole setting.
        rows: The number of images that a step works on, on average.
    """

    step: Callable[[], object]
    whole: int
    rows: float


def time_in_turn(
    one: Program, other: Program, timing: Timing, device: torch.device
) -> list[tuple[float, float]]:
    """Time two programs in turn, so that both meet the same load of the machine.

    Args:
        one: The program of the first turn.
        other: The program of the second turn.
        timing: The number of rounds, and how long a turn lasts.
        device: The device that is waited for at the end of a turn.

    Returns:
        For each round the seconds a step of either program.
    """
    for program in (one, other):
        for _ in range(timing.warmup):
            program.step()
    return [
        (time_step(one, timing.least, device), time_step(other, timing.least, device))
        for _ in range(timing.rounds)
    ]


def time_step(program: Program, least: float, device: torch.device) -> float:
    """Return the seconds a step, averaged over as many steps as take `least` seconds."""
    start, done = time.perf_counter(), 0
    while done == 0 or time.perf_counter() - start < least:
        program.step()
        _wait(device)
        done += 1
    return (time.perf_counter() - start) / done


def count_operations(program: Program) -> int:
    """Return the floating-point operations of one step's matrix products and convolutions."""
    with FlopCounterMode(display=False) as counter:
        program.step()
    return int(counter.get_total_flops())


def measure_matrix_rate(device: torch.device, dtype: torch.dtype, size: int = 2048) -> float:
    """Return the floating-point operations a second of the fastest of eight matrix products.

    Args:
        device: The device that multiplies.
        dtype: The type of the matrices.
        size: The number of rows and of columns.
    """
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(8):
        _wait(device)
        start = time.perf_counter()
        torch.mm(left, right)
        _wait(device)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def measure_peak_memory(program: Program, device: torch.device) -> float | None:
    """Return the MiB in use at the peak of one step: of the GPU's tensors, or of the process.

    None if the system does not tell.
    """
    peak = PeakMemory(device)
    with peak.measuring():
        program.step()
    return peak.resident if peak.cuda is None else peak.cuda


def measure_shares(
    program: Program, name_part: Callable[[nn.Module], str | None], device: torch.device
) -> dict[str, float]:
    """Return the share of a step's time in each part, forward and backward, and in the `rest`.

    Args:
        program: The program that is profiled for one step.
        name_part: Returns the part that a module is, or None for layers and other modules.
        device: The device whose time counts.
    """
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with _labelled(name_part), profile(activities=activities) as profiler:
        start = time.perf_counter()
        program.step()
        _wait(device)
        whole = 1e6 * (time.perf_counter() - start)
    events = profiler.events()
    assert events is not None
    cuda = device.type == "cuda"
    regions = [event for event in events if event.name.startswith(_PART)]
    regions.sort(key=lambda region: region.time_range.start)
    starts = [region.time_range.start for region in regions]
    spent: dict[str, float] = {}
    owner: dict[int, str] = {}
    for event in regions:
        part = event.name.removeprefix(_PART)
        spent[part] = spent.get(part, 0.0) + _microseconds(event, cuda)
    for event in events:
        if event.sequence_nr >= 0 and not event.name.startswith(_BACKWARD):
            last = bisect_right(starts, event.time_range.start) - 1
            if last >= 0 and _holds(regions[last], event):
                owner[event.sequence_nr] = regions[last].name.removeprefix(_PART)
    for event in events:
        if event.name.startswith(_BACKWARD) and event.sequence_nr in owner:
            spent[owner[event.sequence_nr]] += _microseconds(event, cuda)
    found = {part: microseconds / whole for part, microseconds in spent.items()}
    return found | {"rest": max(0.0, 1 - sum(found.values()))}


def _holds(region: Any, event: Any) -> bool:
    inside = region.time_range.start <= event.time_range.start <= region.time_range.end
    return bool(inside and region.thread == event.thread)


def _microseconds(event: Any, cuda: bool) -> float:
    return float(event.device_time_total if cuda else event.time_range.elapsed_us())


@contextmanager
def _labelled(name_part: Callable[[nn.Module], str | None]) -> Iterator[None]:
    """Mark the forward passes of parts for the profiler."""
    open_regions: list[record_function] = []

    def begin(module: nn.Module, inputs: object) -> None:
        part = name_part(module)
        if part is not None:
            region = record_function(_PART + part)
            region.__enter__()
            open_regions.append(region)

    def end(module: nn.Module, inputs: object, output: object) -> None:
        if name_part(module) is not None:
            open_regions.pop().__exit__(None, None, None)

    handles = [
        nn.modules.module.register_module_forward_pre_hook(begin),
        nn.modules.module.register_module_forward_hook(end),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
