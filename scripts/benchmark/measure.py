"""Times, work, memory and who spends them, of one program beside another in one process."""

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


@dataclass(frozen=True)
class Program:
    """Something to be timed.

    Args:
        step: does one step of the setting.
        whole: steps of the whole setting.
        rows: images that a step works on.
    """

    step: Callable[[], object]
    whole: int
    rows: int


def paired(
    one: Program, other: Program, *, rounds: int, warmup: int, least: float, device: torch.device
) -> list[tuple[float, float]]:
    """Seconds a step of two programs, in turn, A B A B ...: one pair a round.

    Args:
        one: program A.
        other: program B.
        rounds: pairs that count.
        warmup: steps of each before that.
        least: seconds that a turn lasts at least; steps are repeated until then.
        device: waited for at the end of a turn.
    """
    for program in (one, other):
        for _ in range(warmup):
            program.step()
    return [(seconds(one, least, device), seconds(other, least, device)) for _ in range(rounds)]


def seconds(program: Program, least: float, device: torch.device) -> float:
    """Seconds a step, over as many steps as take `least` seconds."""
    start, done = time.perf_counter(), 0
    while done == 0 or time.perf_counter() - start < least:
        program.step()
        _wait(device)
        done += 1
    return (time.perf_counter() - start) / done


def multiplications(program: Program) -> int:
    """Floating-point operations of one step's products and convolutions."""
    with FlopCounterMode(display=False) as counter:
        program.step()
    return int(counter.get_total_flops())


def matrix_rate(device: torch.device, dtype: torch.dtype, size: int = 2048) -> float:
    """Floating-point operations a second of the best of eight square matrix products."""
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(8):
        _wait(device)
        start = time.perf_counter()
        torch.mm(left, right)
        _wait(device)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def peak_memory(program: Program, device: torch.device) -> float | None:
    """MiB in use at the worst moment of one step: of the process, or of the GPU's tensors."""
    peak = PeakMemory(device)
    with peak.measuring():
        program.step()
    return peak.resident if peak.cuda is None else peak.cuda


def shares(
    program: Program, part_of: Callable[[nn.Module], str | None], device: torch.device
) -> dict[str, float]:
    """Share of a step's time in each part, forward and backward, and in the `rest`.

    Args:
        program: what is profiled, for one step.
        part_of: names the part that a module is, None for layers and others.
        device: whose time counts.
    """
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with _labelled(part_of), profile(activities=activities) as profiler:
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
def _labelled(part_of: Callable[[nn.Module], str | None]) -> Iterator[None]:
    """Mark the forward passes of parts for the profiler."""
    open_regions: list[record_function] = []

    def begin(module: nn.Module, inputs: object) -> None:
        part = part_of(module)
        if part is not None:
            region = record_function(_PART + part)
            region.__enter__()
            open_regions.append(region)

    def end(module: nn.Module, inputs: object, output: object) -> None:
        if part_of(module) is not None:
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
