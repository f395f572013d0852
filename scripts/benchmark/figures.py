"""A benchmark's figures for one setting, and the table of all settings."""

from __future__ import annotations

import dataclasses
import json
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from scripts.benchmark.measure import (
    Program,
    matrix_rate,
    multiplications,
    paired,
    peak_memory,
    seconds,
    shares,
)
from scripts.benchmark.programs import programs, student_step
from scripts.benchmark.setting import Setting
from unlearn.methods.gkt import GatedKnowledgeTransfer
from unlearn.protocol import Request
from unlearn.synthesis.generator import ImageGenerator

_HEAD = (
    "method",
    "model",
    "batch",
    "precision",
    "published / ours",
    "(least to most)",
    "published, s",
    "ours, s",
    "images/s",
    "of the matrix rate",
    "student step",
    "teacher",
    "student",
    "generator",
    "rest",
    "peak MiB, published / ours",
)


def measured(setting: Setting, settings: Mapping[str, Any]) -> dict[str, Any]:
    """All figures of one setting.

    Args:
        setting: the run, with its request.
        settings: `rounds`, `warmup`, `least`, `published_steps` of conf/benchmark.yaml.
    """
    method, hardware = setting.parts.method, setting.request.hardware
    device, dtype = hardware.device, hardware.autocast_dtype or torch.float32
    published, ours = programs(method, setting, settings["published_steps"])
    rounds = {key: settings[key] for key in ("rounds", "warmup", "least")}
    pairs = paired(published, ours, device=device, **rounds)
    rate = matrix_rate(device, dtype)
    student = _student(setting, settings, rate)
    eager = _eager(setting, settings)
    both = {"published": published, "ours": ours}
    part = _parts(setting.request)
    flops = {"published": multiplications(published), "ours": multiplications(eager)}
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
        "matrix_rate": rate,
        "floor_seconds_a_step": flops["ours"] / rate,
        "student_step": student,
        "shares": {
            "published": shares(published, part, device),
            "ours": shares(eager, part, device),
        },
        "peak_mib": {name: peak_memory(program, device) for name, program in both.items()},
    }


def _eager(setting: Setting, settings: Mapping[str, Any]) -> Program:
    """Ours before it is compiled, whose operations can be told apart and counted."""
    if setting.request.hardware.compile_mode is not None:
        plain = dataclasses.replace(setting.request.hardware, compile_mode=None)
        request = dataclasses.replace(setting.request, hardware=plain)
        setting = dataclasses.replace(setting, request=request)
    _, ours = programs(setting.parts.method, setting, settings["published_steps"])
    ours.step()
    return ours


def _student(setting: Setting, settings: Mapping[str, Any], rate: float) -> dict[str, float] | None:
    """GKT's student step beside the matrix rate."""
    method, device = setting.parts.method, setting.request.hardware.device
    if not isinstance(method, GatedKnowledgeTransfer):
        return None
    program = student_step(method, setting.request)
    program.step()
    spent = median(seconds(program, settings["least"], device) for _ in range(settings["rounds"]))
    eager = dataclasses.replace(setting.request.hardware, compile_mode=None)
    request = dataclasses.replace(setting.request, hardware=eager)
    flops = multiplications(student_step(method, request))
    return {"seconds": spent, "flops": flops, "of_matrix_rate": flops / spent / rate}


def _parts(request: Request) -> Callable[[nn.Module], str | None]:
    """Names a module: generator, teacher or student."""

    def part(module: nn.Module) -> str | None:
        if isinstance(module, ImageGenerator):
            return "generator"
        if module is request.teacher:
            return "teacher"
        return "student" if type(module) is type(request.teacher) else None

    return part


def machine() -> dict[str, Any]:
    """What the figures are measured on."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    models = [line.split(": ", 1)[1] for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
    }


def table(folder: Path) -> str:
    """The Markdown table of every setting under a folder."""
    lines = [_HEAD, ("---",) * len(_HEAD)]
    lines += [_row(json.loads(path.read_text())) for path in sorted(folder.rglob("*.json"))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def _row(found: Mapping[str, Any]) -> tuple[str, ...]:
    ratio, steps, seconds = found["ratio"], found["steps"], found["seconds_a_step"]
    compiled = ", compiled" if found["compiled"] else ""
    parts = (found["shares"]["ours"].get(k, 0) for k in ("teacher", "student", "generator", "rest"))
    return (
        found["method"],
        found["model"],
        str(found["batch"]),
        found["precision"] + compiled,
        f"{ratio['median']:.1f}×",
        f"{ratio['least']:.1f} to {ratio['most']:.1f}",
        *(f"{seconds[k] * steps[k]:,.0f}" for k in ("published", "ours")),
        f"{found['images_a_second']['ours']:,.0f}",
        f"{found['floor_seconds_a_step'] / seconds['ours']:.0%}",
        f"{found['student_step']['of_matrix_rate']:.0%}" if found["student_step"] else "-",
        *(f"{part:.0%}" for part in parts),
        " / ".join(f"{found['peak_mib'][k] or 0:,.0f}" for k in ("published", "ours")),
    )
