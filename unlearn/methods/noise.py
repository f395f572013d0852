"""Noise: error-minimising noises stand for the classes, and teach a masked teacher's answers.

After the error minimization-maximization noise (EMMN) of "Zero-Shot Machine Unlearning"
(Chundawat et al., TIFS 2023), section IV and algorithm 1:

    for each class k, N_k ~ N(0, I):
        minimise CE(T(N_k), k), between black and white
        as published, for a forget class:  minimise -CE(T(N_k), k) + lambda * ||N_k||^2, unbounded
    as published, impair: train the network on all (N_k, k) with cross-entropy
    repair: distil the teacher's masked answers on the same noises (not in the paper)

The teacher does not answer a noise that maximises the error of a class with that class, so that
masked answers to it say nothing of the class. Its masked answers to noises that minimise the error
say what else the class looks like.
"""

from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from unlearn.config.schema import CLOSED, Share
from unlearn.data.tensors import Access, Split
from unlearn.errors import ConfigError
from unlearn.models.outputs import compute_logits
from unlearn.optimizers import SGD
from unlearn.protocol import Request, State, Steps
from unlearn.synthesis.noise import ClassNoises
from unlearn.training.loops import Pass, distil, run_epochs
from unlearn.training.losses import target_probabilities, weighted_mean
from unlearn.training.student import BatchNorm, start_student


@dataclass(config=CLOSED, kw_only=True)
class ErrorNoise:
    """EMMN, with a repair step on the noises.

    The paper tried such a repair and left it out.

    Args:
        noises: Noises optimised for each class, at least 1.
        noise_steps: Steps of Adam on the noises, at least 1.
        noise_learning_rate: Learning rate of the noises, above 0. It is halved for a class whose
            loss has not improved for `patience` steps.
        maximised: Share of a forget class's noises that maximise the error, in [0, 1]; 1 as
            published.
        regularisation: Weight of the squared norm of the noises that maximise the error (lambda in
            the paper), at least 0.
        patience: Steps without improvement before a learning rate is halved, at least 1.
        valid: Whether noises stay between black and white.
        fresh_readout: Whether the forget classes' rows of the last layer start fresh.
        impair: Whether to train on each noise's own class first. The forget classes' noises that
            minimise the error are left out.
        copies: Copies of each noise in an impair epoch, at least 1.
        batch_size: Rows of an impair or repair step, at least 1.
        epochs: Epochs of impair (plain SGD), at least 1.
        learning_rate: Learning rate of impair, above 0.
        repair_epochs: Epochs of masked distillation on the noises; 0 as published.
        repair_learning_rate: Learning rate of repair (Adam, cosine to zero), above 0.
        batch_norm: Batch norm of the student: `train`, or `frozen` at the teacher's statistics.

    Raises:
        ConfigError: If it would neither impair nor repair.
    """

    access: ClassVar[Access] = "none"
    noises: PositiveInt
    noise_steps: PositiveInt
    noise_learning_rate: PositiveFloat
    maximised: Share
    regularisation: NonNegativeFloat
    patience: PositiveInt
    valid: bool
    fresh_readout: bool
    impair: bool
    copies: PositiveInt
    batch_size: PositiveInt
    epochs: PositiveInt
    learning_rate: PositiveFloat
    repair_epochs: NonNegativeInt
    repair_learning_rate: PositiveFloat
    batch_norm: BatchNorm

    def __post_init__(self) -> None:
        """Refuse to do nothing."""
        if not (self.impair or self.repair_epochs):
            raise ConfigError("method.repair_epochs", 0, "at least 1 where method.impair=false")

    def unlearn(self, request: Request, data: Split | None) -> Steps:
        """Yield the state after each noise step and each epoch; see `Method`."""
        random = torch.Generator().manual_seed(request.seed)
        noises = yield from self.synthesis().optimise(request, random)
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

    def synthesis(self) -> ClassNoises:
        """The optimisation of the noises."""
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
            lambda _: [Pass("impair", loss_of, len(images) * self.copies, self.batch_size)],
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
            request=request,
            random=random,
        ):
            yield State("repair", epoch, self.repair_epochs, student, {"repair": loss})
