"""The figures of one benchmarked setting."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from scripts.benchmark.measure import (
    Program,
    Timing,
    count_operations,
    measure_matrix_rate,
    measure_peak_memory,
    measure_shares,
    time_in_turn,
    time_step,
)
from scripts.benchmark.programs import build_programs, build_student_step
from scripts.benchmark.setting import Setting
from unlearn.methods.gkt import GatedKnowledgeTransfer
from unlearn.protocol import Request
from unlearn.synthesis.generator import ImageGenerator


def measure_setting(setting: Setting, timing: Timing) -> dict[str, Any]:
    """Return all figures of one setting.

    Args:
        setting: The run, with its trained teacher and its request.
        timing: How long the programs are timed.

    Raises:
        ConfigError: If the method has no published loop here.
    """
    method, hardware = setting.parts.method, setting.request.hardware
    device, dtype = hardware.device, hardware.autocast_dtype or torch.float32
    published, ours = build_programs(method, setting, timing.published_steps)
    pairs = time_in_turn(published, ours, timing, device)
    matrix_rate = measure_matrix_rate(device, dtype)
    student = _measure_student_step(setting, timing, matrix_rate)
    eager = _build_eager_program(setting, timing)
    both = {"published": published, "ours": ours}
    name_part = _part_namer(setting.request)
    flops = {"published": count_operations(published), "ours": count_operations(eager)}
    ratios = [a * published.whole / (b * ours.whole) for a, b in pairs]
    spent = {"published": median(a for a, _ in pairs), "ours": median(b for _, b in pairs)}
    return {
        "ratio": {"median": median(ratios), "least": min(ratios), "most": max(ratios)},
        "seconds_a_step": spent,
        "steps": {name: program.whole for name, program in both.items()},
        "images_a_second": {name: both[name].rows / spent[name] for name in both},
        "flops_a_step": flops,
        "precision": str(dtype).removeprefix("torch."),
        "compiled": hardware.compile_mode,
        "matrix_rate": matrix_rate,
        "floor_seconds_a_step": flops["ours"] / matrix_rate,
        "student_step": student,
        "shares": {
            "published": measure_shares(published, name_part, device),
            "ours": measure_shares(eager, name_part, device),
        },
        "peak_mib": {name: measure_peak_memory(program, device) for name, program in both.items()},
    }


def _build_eager_program(setting: Setting, timing: Timing) -> Program:
    """Return our program without compilation, so that its operations can be counted."""
    if setting.request.hardware.compile_mode is not None:
        plain = dataclasses.replace(setting.request.hardware, compile_mode=None)
        request = dataclasses.replace(setting.request, hardware=plain)
        setting = dataclasses.replace(setting, request=request)
    _, ours = build_programs(setting.parts.method, setting, timing.published_steps)
    ours.step()
    return ours


def _measure_student_step(
    setting: Setting, timing: Timing, matrix_rate: float
) -> dict[str, float] | None:
    """Return the cost of GKT's student step relative to the matrix rate; None for other methods."""
    method, device = setting.parts.method, setting.request.hardware.device
    if not isinstance(method, GatedKnowledgeTransfer):
        return None
    program = build_student_step(method, setting.request)
    program.step()
    spent = median(time_step(program, timing.least, device) for _ in range(timing.rounds))
    eager = dataclasses.replace(setting.request.hardware, compile_mode=None)
    request = dataclasses.replace(setting.request, hardware=eager)
    flops = count_operations(build_student_step(method, request))
    return {"seconds": spent, "flops": flops, "of_matrix_rate": flops / spent / matrix_rate}


def _part_namer(request: Request) -> Callable[[nn.Module], str | None]:
    """Return a function that says whether a module is the generator, the teacher or the student."""

    def name_part(module: nn.Module) -> str | None:
        if isinstance(module, ImageGenerator):
            return "generator"
        if type(module) is not type(request.teacher):
            return None
        return "student" if module.training else "teacher"

    return name_part


def describe_machine() -> dict[str, Any]:
    """Return the processor, the number of threads, the GPU and the version of torch."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    models = [line.split(": ", 1)[1] for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
    }
