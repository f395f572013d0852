"""The programs that are timed: for each method its published loop in float32 and our loop."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import singledispatch
from typing import Any

import torch

from scripts.benchmark.measure import Program
from scripts.benchmark.published import PublishedGKT, optimise_published_noises, train_from_loader
from scripts.benchmark.setting import Setting
from unlearn.errors import ConfigError
from unlearn.hardware import Hardware
from unlearn.methods.gkt import GatedKnowledgeTransfer, GKTTrainer
from unlearn.methods.inversion import Inversion
from unlearn.methods.noise import ErrorNoise
from unlearn.methods.retrain import Retrain
from unlearn.models.copies import copy_network
from unlearn.protocol import Request
from unlearn.training.student import set_training

_ENDLESS = 10**6  # steps; more than are ever timed


@singledispatch
def build_programs(
    method: object, setting: Setting, published_steps: int
) -> tuple[Program, Program]:
    """Return the published program and ours.

    Args:
        method: The method of the run.
        setting: The run, with its trained teacher and its request.
        published_steps: The steps of the published inversion, for each batch of images.

    Raises:
        ConfigError: If the method has no published loop here.
    """
    name = setting.config.method.name
    raise ConfigError("method", name, "allowed are gkt, noise, inversion, retrain")


@build_programs.register
def _gkt(
    method: GatedKnowledgeTransfer, setting: Setting, published_steps: int
) -> tuple[Program, Program]:
    """A step of ours is an outer iteration; rows are the images that the student sees.

    As published the student's and the generator's steps take the same passes, so that a single
    step stands for all of an iteration.
    """
    endless = dataclasses.replace(method, iterations=_ENDLESS)
    published = PublishedGKT(endless, _make_plain(setting.request), setting.config.filter.gate)
    steps = (loss for _ in range(_ENDLESS) for loss in published.run_steps())
    ours = endless.unlearn(setting.request, None)
    parts = method.student_steps + method.generator_steps
    rows = method.batch_size * method.student_steps
    return (
        Program(_make_step(steps), method.iterations * parts, rows / parts),
        Program(_make_step(ours), method.iterations, rows),
    )


def build_student_step(method: GatedKnowledgeTransfer, request: Request) -> Program:
    """Return GKT's student step alone on one batch: forward, backward, clipping and Adam."""
    trainer = GKTTrainer(method, request)
    set_training(trainer.student, frozen=method.batch_norm != "train")  # as after one iteration
    batch = trainer.synthesise(trainer.draw_noise())
    return Program(lambda: trainer.student_step(batch), 1, method.batch_size)


@build_programs.register
def _noise(method: ErrorNoise, setting: Setting, published_steps: int) -> tuple[Program, Program]:
    """A step is one of the noises' optimiser: for one class as published, for all in ours."""
    endless = dataclasses.replace(method, noise_steps=_ENDLESS)
    random, classes = torch.Generator().manual_seed(0), setting.request.num_classes
    published = optimise_published_noises(endless.synthesis(), _make_plain(setting.request), random)
    ours = endless.unlearn(setting.request, None)
    return (
        Program(_make_step(published), method.noise_steps * classes, method.noises),
        Program(_make_step(ours), method.noise_steps, method.noises * classes),
    )


@build_programs.register
def _inversion(
    method: Inversion, setting: Setting, published_steps: int
) -> tuple[Program, Program]:
    """A step is one of the optimiser of a batch of images."""
    request = setting.request
    classes = request.num_classes if method.inverted == "all" else len(request.retain)
    images = method.images * classes
    batches, rows = -(-images // method.inversion_batch), min(method.inversion_batch, images)
    endless = dataclasses.replace(method, inversion_steps=_ENDLESS)
    published, ours = (endless.unlearn(r, None) for r in (_make_plain(request), request))
    return (
        Program(_make_step(published), batches * published_steps, rows),
        Program(_make_step(ours), batches * method.inversion_steps, rows),
    )


@build_programs.register
def _training(method: Retrain, setting: Setting, published_steps: int) -> tuple[Program, Program]:
    """A step is an epoch: from a DataLoader as published, from tensors on the device in ours."""
    rows, settings = setting.retain_rows(), setting.config.training
    network = _make_plain(setting.request).hardware.place(setting.request.fresh())
    ours = dataclasses.replace(method, epochs=_ENDLESS // 100).unlearn(setting.request, rows)
    return (
        Program(_make_step(train_from_loader(network, rows, settings)), method.epochs, len(rows)),
        Program(_make_step(ours), method.epochs, len(rows)),
    )


def _make_plain(request: Request) -> Request:
    """Return the request in float32 and the default layout, not compiled."""
    teacher = copy_network(request.teacher).to(memory_format=torch.contiguous_format)
    hardware = Hardware(request.hardware.device)
    return dataclasses.replace(request, teacher=teacher, hardware=hardware)


def _make_step(steps: Iterator[Any]) -> Callable[[], Any]:
    return lambda: next(steps)
