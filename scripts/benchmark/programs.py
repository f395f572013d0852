"""What is timed for each method: the loop as published in float32, and ours as configured."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import singledispatch
from typing import Any

import torch

from scripts.benchmark.measure import Program
from scripts.benchmark.published import PublishedTransfer, loader_batches, published_noises
from scripts.benchmark.setting import Setting
from unlearn.errors import ConfigError
from unlearn.hardware import Hardware
from unlearn.methods.gkt import GatedKnowledgeTransfer, GKTTrainer
from unlearn.methods.inversion import Inversion
from unlearn.methods.noise import ErrorNoise
from unlearn.methods.retrain import Retrain
from unlearn.protocol import Request

_ENDLESS = 10**6  # steps, so that the timing never meets the end


@singledispatch
def programs(method: object, setting: Setting, published_steps: int) -> tuple[Program, Program]:
    """The published program and ours.

    Args:
        method: of the run.
        setting: of the run, with its request.
        published_steps: of an inversion.

    Raises:
        ConfigError: naming `method` if it has no published loop here.
    """
    name = setting.config.method.name
    raise ConfigError("method", name, "allowed are gkt, noise, inversion, retrain")


@programs.register
def _gkt(
    method: GatedKnowledgeTransfer, setting: Setting, published_steps: int
) -> tuple[Program, Program]:
    """Steps are outer iterations; rows are images that the student sees."""
    endless = dataclasses.replace(method, iterations=_ENDLESS)
    published = PublishedTransfer(endless, _plain(setting.request), setting.config.filter.gate)
    ours = endless.unlearn(setting.request, None)
    rows = method.batch_size * method.student_steps
    return (
        Program(published.iteration, method.iterations, rows),
        Program(_stepping(ours), method.iterations, rows),
    )


def student_step(method: GatedKnowledgeTransfer, request: Request) -> Program:
    """GKT's student step alone, on one batch: forward, backward, clipping and Adam."""
    trainer = GKTTrainer(method, request)
    batch = trainer.synthesise(trainer.draw_noise())
    return Program(lambda: trainer.student_step(batch), 1, method.batch_size)


@programs.register
def _noise(method: ErrorNoise, setting: Setting, published_steps: int) -> tuple[Program, Program]:
    """Steps of the noises' optimiser: of one class as published, of all classes in ours."""
    endless = dataclasses.replace(method, noise_steps=_ENDLESS)
    random, classes = torch.Generator().manual_seed(0), setting.request.num_classes
    published = published_noises(endless.synthesis(), _plain(setting.request), random)
    ours = endless.unlearn(setting.request, None)
    return (
        Program(_stepping(published), method.noise_steps * classes, method.noises),
        Program(_stepping(ours), method.noise_steps, method.noises * classes),
    )


@programs.register
def _inversion(
    method: Inversion, setting: Setting, published_steps: int
) -> tuple[Program, Program]:
    """Steps of a batch of images: `published_steps` from noise, or as configured."""
    request = setting.request
    classes = request.num_classes if method.inverted == "all" else len(request.retain)
    images = method.images * classes
    batches, rows = -(-images // method.inversion_batch), min(method.inversion_batch, images)
    endless = dataclasses.replace(method, inversion_steps=_ENDLESS)
    published, ours = (endless.unlearn(r, None) for r in (_plain(request), request))
    return (
        Program(_stepping(published), batches * published_steps, rows),
        Program(_stepping(ours), batches * method.inversion_steps, rows),
    )


@programs.register
def _training(method: Retrain, setting: Setting, published_steps: int) -> tuple[Program, Program]:
    """Steps are epochs: from a DataLoader with two workers, or from tensors on the device."""
    rows, settings = setting.retain_rows(), setting.config.training
    network = _plain(setting.request).hardware.place(setting.request.fresh())
    ours = dataclasses.replace(method, epochs=_ENDLESS // 100).unlearn(setting.request, rows)
    return (
        Program(_stepping(loader_batches(network, rows, settings)), method.epochs, len(rows)),
        Program(_stepping(ours), method.epochs, len(rows)),
    )


def _plain(request: Request) -> Request:
    """The request in float32 and the default layout, not compiled."""
    return dataclasses.replace(request, hardware=Hardware(request.hardware.device))


def _stepping(steps: Iterator[Any]) -> Callable[[], Any]:
    return lambda: next(steps)
