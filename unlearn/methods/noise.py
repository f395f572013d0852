"""Noise: error-minimising noises stand for the classes, and teach what a masked teacher answers.

After the error minimization-maximization noise (EMMN) of "Zero-Shot Machine Unlearning",
Chundawat et al., TIFS 2023, section IV and algorithm 1:

    for each class k, N_k ~ N(0, I):
        minimise CE(T(N_k), k), between black and white
        as published, forget k:  minimise -CE(T(N_k), k) + lambda * ||N_k||^2, anywhere
    as published, impair: train the network on all (N_k, k) with cross-entropy
    repair: distil the teacher's masked answers on the same noises (not in the paper)

A noise that maximises the error of a class is not answered with it, so that masked answers to it
say nothing of the class; to noises that minimise it they say what else it looks like.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD

from unlearn.data.tensors import Access, Split
from unlearn.errors import ConfigError
from unlearn.models.outputs import compute_logits
from unlearn.protocol import SHOWN, Request, Samples, State, Steps
from unlearn.synthesis.noise import ClassNoises
from unlearn.training.loops import distil, run_epochs
from unlearn.training.losses import target_probabilities, weighted_mean
from unlearn.training.student import start_student


@dataclass(frozen=True, kw_only=True)
class ErrorNoise:
    """EMMN, with a repair step that the paper tried on noise alone and left out.

    Args:
        noises: optimised for each class.
        noise_steps: of Adam on the noises.
        noise_learning_rate: halved for a class whose loss stays for `patience` steps.
        maximised: share of a forget class's noises that maximise the error; 1 as published.
        regularisation: lambda, on the squared norm of the noises that maximise.
        patience: in steps.
        valid: whether noises stay between black and white.
        fresh_readout: whether the forget classes' rows of the last layer start fresh.
        impair: whether to train on each noise's own class first, without the forget classes'
            noises that minimise the error.
        copies: of each noise in an impair epoch.
        batch_size: rows of an impair or repair step.
        epochs: of impair, plain SGD.
        learning_rate: of impair.
        repair_epochs: of masked distillation from the teacher on the noises; 0 as published.
        repair_learning_rate: of repair (Adam, cosine).
        batch_norm: the student's: `train` or `frozen` at the teacher's statistics.
        as_published: for the record; the config has then laid the published settings over these.

    Raises:
        ConfigError: if it would neither impair nor repair.
    """

    noises: int
    noise_steps: int
    noise_learning_rate: float
    maximised: float
    regularisation: float
    patience: int
    valid: bool
    fresh_readout: bool
    impair: bool
    copies: int
    batch_size: int
    epochs: int
    learning_rate: float
    repair_epochs: int
    repair_learning_rate: float
    batch_norm: Literal["train", "frozen"]
    as_published: bool = False

    def __post_init__(self) -> None:
        """Refuse to do nothing."""
        if not (self.impair or self.repair_epochs):
            raise ConfigError("method.repair_epochs", 0, "at least 1 where method.impair=false")

    @property
    def access(self) -> Access:
        """No data."""
        return "none"

    def unlearn(self, request: Request, data: Split | None) -> Steps:
        """Yield the state after each noise step and each epoch; see `Method`."""
        random = torch.Generator().manual_seed(request.seed)
        noises = yield from self._synthesise(request, random)
        student = start_student(
            request,
            share=1.0,
            fresh_readout=self.fresh_readout,
            frozen=self.batch_norm == "frozen",
        )
        if self.impair:
            yield from self._impair(student, noises, request, random)
        if self.repair_epochs:
            yield from self._repair(student, noises.flatten(0, 1), request, random)

    def _synthesise(
        self, request: Request, random: torch.Generator
    ) -> Generator[State, object, Tensor]:
        """Yield the state after each noise step; return all noises (K, n, C, H, W)."""
        steps, forget = self.synthesis().optimise(request, random), request.forget_mask
        while True:
            try:
                step, noises, losses = next(steps)
            except StopIteration as end:
                finished: Tensor = end.value
                return finished
            scalars: dict[str, Tensor | float] = {
                "noise.retain": losses[~forget].mean(),
                "noise.forget": losses[forget].mean(),
            }
            samples = _samples(noises) if step == self.noise_steps else None
            yield State("noise", step, self.noise_steps, None, scalars, samples)

    def synthesis(self) -> ClassNoises:
        """The settings of the noises."""
        return ClassNoises(
            noises=self.noises,
            steps=self.noise_steps,
            learning_rate=self.noise_learning_rate,
            regularisation=self.regularisation,
            patience=self.patience,
            maximised=self.maximised,
            valid=self.valid,
        )

    def _impair(
        self, student: nn.Module, noises: Tensor, request: Request, random: torch.Generator
    ) -> Steps:
        forget, hardware = request.forget_mask, request.hardware
        taught = self.synthesis().maximising(forget) | ~forget[:, None]
        weights = taught.to(noises.dtype).flatten()
        images = noises.flatten(0, 1)
        labels = torch.arange(len(noises), device=noises.device).repeat_interleave(self.noises)

        def loss_of(rows: Tensor) -> Tensor:
            picked = rows % len(images)
            logits = hardware.run(student, images[picked])
            errors = F.cross_entropy(logits, labels[picked], reduction="none")
            return weighted_mean(errors, weights[picked])

        yield from run_epochs(
            "impair",
            student,
            SGD(student.parameters(), self.learning_rate),
            loss_of,
            rows=len(images) * self.copies,
            batch_size=self.batch_size,
            epochs=self.epochs,
            request=request,
            random=random,
        )

    def _repair(
        self, student: nn.Module, images: Tensor, request: Request, random: torch.Generator
    ) -> Steps:
        logits = compute_logits(request.teacher, images, request.hardware, self.batch_size)
        for epoch, loss in distil(
            student,
            images,
            target_probabilities(logits, request.forget_mask, "masked"),
            request.filter(logits, request.forget_mask),
            epochs=self.repair_epochs,
            batch_size=self.batch_size,
            learning_rate=self.repair_learning_rate,
            temperature=1.0,
            hardware=request.hardware,
            random=random,
            progress=request.progress,
        ):
            yield State("repair", epoch, self.repair_epochs, student, {"repair": loss})


def _samples(noises: Tensor) -> Samples:
    """The first few noises of each class, out of noises (K, n, C, H, W)."""
    shown = noises[:, : max(1, SHOWN // len(noises))]
    labels = torch.arange(len(noises), device=noises.device).repeat_interleave(shown.shape[1])
    return Samples(shown.flatten(0, 1), torch.ones(len(labels), device=labels.device), labels)
