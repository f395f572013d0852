"""Time a method's loop as published beside ours, in one process and in turn.

    python scripts/benchmark.py method=gkt method.as_published=true model=lenet hardware=fast

Takes the keys of `unlearn`, and `benchmark.*`. Writes one JSON a setting and the table of all of
them, `outputs/benchmark/table.md`.
"""

from __future__ import annotations

import dataclasses
import json
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import hydra
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from torch import nn

from unlearn import record as records
from unlearn.benchmark.measure import (
    Program,
    matrix_rate,
    multiplications,
    paired,
    peak_memory,
    shares,
)
from unlearn.benchmark.published import PublishedTransfer, published_noises
from unlearn.config import RunConfig
from unlearn.errors import ConfigError, UnlearnError
from unlearn.hardware import Hardware
from unlearn.job import Job
from unlearn.methods.gkt import GatedKnowledgeTransfer
from unlearn.methods.inversion import Inversion
from unlearn.methods.noise import ErrorNoise
from unlearn.request import Request
from unlearn.run import prepared
from unlearn.settle import settle
from unlearn.synthesis.generator import ImageGenerator

CONF = Path(__file__).resolve().parent.parent / "conf"
COLUMNS = ("ratio", "published s", "ours s", "images/s", "floor s", "of floor")


def programs(job: Job, published_steps: int) -> tuple[Program, Program]:
    """The method's loop as published (float32, default layout), and ours (as configured)."""
    method, request = job.parts.method, job.request
    plain = dataclasses.replace(request, hardware=Hardware(request.hardware.device))
    if isinstance(method, GatedKnowledgeTransfer):
        method = dataclasses.replace(method, iterations=10**6)
        published = PublishedTransfer(method, plain, job.config.filter.gate)
        whole, rows = job.config.method.iterations, method.batch_size * method.student_steps
        return (
            Program(published.iteration, whole, rows),
            Program(_stepping(method.unlearn(request, None)), whole, rows),
        )
    if isinstance(method, ErrorNoise):
        settings = dataclasses.replace(method.synthesis(), steps=10**6)
        random = torch.Generator().manual_seed(0)
        whole, classes = method.noise_steps, request.num_classes
        one = published_noises(settings, plain, random)
        ours = dataclasses.replace(method, noise_steps=10**6).unlearn(request, None)
        return (
            Program(_stepping(one), whole * classes, method.noises),
            Program(_stepping(ours), whole, method.noises * classes),
        )
    if isinstance(method, Inversion):
        classes = request.num_classes if method.inverted == "all" else len(request.retain)
        images = method.images * classes
        batches = -(-images // method.inversion_batch)
        endless = dataclasses.replace(method, inversion_steps=10**6)
        rows = min(method.inversion_batch, images)
        return (
            Program(_stepping(endless.unlearn(plain, None)), batches * published_steps, rows),
            Program(
                _stepping(endless.unlearn(request, None)), batches * method.inversion_steps, rows
            ),
        )
    raise ConfigError("method", job.config.method.name, "allowed are gkt, noise, inversion")


def _stepping(steps: Iterator[Any]) -> Any:
    return lambda: next(steps)


def parts_of(request: Request) -> Any:
    """Names a module: generator, teacher or student."""

    def part(module: nn.Module) -> str | None:
        if isinstance(module, ImageGenerator):
            return "generator"
        if module is request.teacher:
            return "teacher"
        return "student" if type(module) is type(request.teacher) else None

    return part


def measured(job: Job, settings: DictConfig) -> dict[str, Any]:
    """All figures of one setting."""
    published, ours = programs(job, settings.published_steps)
    hardware = job.request.hardware
    device = hardware.device
    pairs = paired(
        published,
        ours,
        rounds=settings.rounds,
        warmup=settings.warmup,
        least=settings.least,
        device=device,
    )
    ratios = [a * published.whole / (b * ours.whole) for a, b in pairs]
    seconds = {"published": median(a for a, _ in pairs), "ours": median(b for _, b in pairs)}
    dtype = hardware.autocast_dtype or torch.float32
    rate = matrix_rate(device, dtype)
    flops = {"published": multiplications(published), "ours": multiplications(ours)}
    part = parts_of(job.request)
    return {
        "ratio": {"median": median(ratios), "least": min(ratios), "most": max(ratios)},
        "seconds_a_step": seconds,
        "steps": {"published": published.whole, "ours": ours.whole},
        "images_a_second": ours.rows / seconds["ours"],
        "flops_a_step": flops,
        "matrix_rate": {str(dtype).removeprefix("torch."): rate},
        "floor_seconds_a_step": flops["ours"] / rate,
        "shares": {
            "published": shares(published, part, device),
            "ours": shares(ours, part, device),
        },
        "peak_mib": {
            "published": peak_memory(published, device),
            "ours": peak_memory(ours, device),
        },
    }


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    models = [line.split(": ")[1] for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
    }


def table(folder: Path) -> str:
    """The Markdown table of every setting measured so far."""
    head = (
        "method", "model", "batch", "precision", "published / ours", "(least to most)",
        "published, s", "ours, s", "images/s", "of the matrix rate",
        "teacher", "student", "generator", "rest", "peak MiB published / ours",
    )  # fmt: skip
    lines = [head, ("---",) * len(head)]
    for path in sorted(folder.glob("*/*.json")):
        found = json.loads(path.read_text())
        ratio, steps, seconds = found["ratio"], found["steps"], found["seconds_a_step"]
        parts = found["shares"]["ours"]
        lines.append(
            (
                found["method"],
                found["model"],
                str(found["batch"]),
                next(iter(found["matrix_rate"])),
                f"{ratio['median']:.1f}×",
                f"{ratio['least']:.1f} to {ratio['most']:.1f}",
                *(f"{seconds[k] * steps[k]:.3g}" for k in ("published", "ours")),
                f"{found['images_a_second']:.0f}",
                f"{100 * found['floor_seconds_a_step'] / seconds['ours']:.0f}%",
                *(
                    f"{100 * parts.get(k, 0):.0f}%"
                    for k in ("teacher", "student", "generator", "rest")
                ),
                " / ".join(f"{found['peak_mib'][k]:.0f}" for k in ("published", "ours")),
            )
        )
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def benchmark(composed: DictConfig, overrides: list[str]) -> Path:
    """Measure one setting, keep its figures, and print the table so far."""
    settings = OmegaConf.masked_copy(composed, "benchmark").benchmark
    plain = composed.copy()
    OmegaConf.set_struct(plain, False)
    del plain["benchmark"]
    config: RunConfig = settle(plain, [o for o in overrides if not o.startswith("benchmark.")])
    figures = measured(prepared(config), settings)
    folder = Path(config.outputs) / "benchmark"
    batch = config.method.inversion_batch if config.method.name == "inversion" else None
    batch = batch or (config.method.noises if config.method.name == "noise" else None)
    model = config.model.name
    width = config.model.arguments.get("width")
    model += f" {width:g}" if width is not None else ""
    target = folder / config.dataset.name / f"{config.method.name}-{model.replace(' ', '-')}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    about = {
        "dataset": config.dataset.name,
        "model": model,
        "method": config.method.name,
        "batch": batch or config.method.batch_size,
        "machine": machine(),
        "versions": records.versions(),
        "command": ["python", "scripts/benchmark.py", *overrides],
    }
    records.write_json(target, about | figures)
    (folder / "table.md").write_text(table(folder))
    print(table(folder))
    return target


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="benchmark")
def main(composed: DictConfig) -> None:
    """Benchmark the composed setting."""
    try:
        benchmark(composed, list(HydraConfig.get().overrides.task))
    except UnlearnError as error:
        sys.exit(f"benchmark: {error}")


if __name__ == "__main__":
    main()
