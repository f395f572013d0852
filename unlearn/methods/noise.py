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

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import SGD

from unlearn.data.tensors import Access, Split
from unlearn.errors import ConfigError, RunError
from unlearn.models.members import Member, Members, each
from unlearn.models.outputs import compute_logits
from unlearn.protocol import SHOWN, Observed, Request, Samples, State, Steps, StepsTogether, lone
from unlearn.synthesis.noise import ClassNoises
from unlearn.training.loops import distil, shuffled, take
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
        return lone(self.unlearn_together([request]))

    def unlearn_together(self, requests: Sequence[Request]) -> StepsTogether:
        """The same for several requests at once; see `Together`."""
        randoms = [torch.Generator().manual_seed(request.seed) for request in requests]
        hardware = requests[0].hardware
        teachers = Members([r.teacher for r in requests], hardware, stacked=hardware.stacks)
        noises = yield from self._synthesise(teachers, requests, randoms)
        starts = [
            start_student(
                request,
                share=1.0,
                fresh_readout=self.fresh_readout,
                frozen=self.batch_norm == "frozen",
            )
            for request in requests
        ]
        students = Members(starts, hardware, stacked=hardware.stacks)
        if self.impair:
            yield from self._impair(students, noises, requests, randoms)
        if self.repair_epochs:
            yield from self._repair(students, noises.flatten(1, 2), requests, randoms)

    def _synthesise(
        self, teachers: Members, requests: Sequence[Request], randoms: Sequence[torch.Generator]
    ) -> Generator[list[State], Sequence[Observed | None], Tensor]:
        """Yield the states of each noise step; return all noises (M, K, n, C, H, W)."""
        steps = self.synthesis().optimise(teachers, requests, randoms)
        while True:
            try:
                step, noises, losses = next(steps)
            except StopIteration as end:
                finished: Tensor = end.value
                return finished
            last = step == self.noise_steps
            yield [
                _noise_state(step, self.noise_steps, request, noise, loss, last)
                for request, noise, loss in zip(requests, noises, losses, strict=True)
            ]

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
        self,
        students: Members,
        noises: Tensor,
        requests: Sequence[Request],
        randoms: Sequence[torch.Generator],
    ) -> StepsTogether:
        forget = torch.stack([request.forget_mask for request in requests])
        maximising = torch.stack([self.synthesis().maximising(member) for member in forget])
        weights = (maximising | ~forget[..., None]).to(noises.dtype).flatten(1)
        images = noises.flatten(1, 2)
        labels = torch.arange(noises.shape[1], device=noises.device).repeat_interleave(self.noises)
        optimizer = SGD(students.parameters(), self.learning_rate)
        count = images.shape[1]
        parts = {"students": students, "randoms": list(randoms)}
        for epoch in requests[0].progress.steps("impair", self.epochs, lambda: parts):
            for rows in shuffled(count * self.copies, self.batch_size, randoms, images.device):
                picked = rows % count
                batch = (take(images, picked), labels[picked], take(weights, picked))
                losses = each(_class_loss, [students], *batch)
                optimizer.zero_grad()
                losses.sum().backward()
                optimizer.step()
            if not torch.isfinite(losses).all():
                raise RunError(
                    f"method.learning_rate={self.learning_rate}: the impair loss is not finite; "
                    "lower it"
                )
            yield _epoch_states("impair", epoch, self.epochs, students, losses.detach())

    def _repair(
        self,
        students: Members,
        images: Tensor,
        requests: Sequence[Request],
        randoms: Sequence[torch.Generator],
    ) -> StepsTogether:
        targets, weights = [], []
        for request, member in zip(requests, images, strict=True):
            logits = compute_logits(request.teacher, member, request.hardware, self.batch_size)
            targets.append(target_probabilities(logits, request.forget_mask, "masked"))
            weights.append(request.filter(logits, request.forget_mask))
        for epoch, losses in distil(
            students,
            images,
            torch.stack(targets),
            torch.stack(weights),
            epochs=self.repair_epochs,
            batch_size=self.batch_size,
            learning_rate=self.repair_learning_rate,
            temperature=1.0,
            randoms=randoms,
            progress=requests[0].progress,
        ):
            yield _epoch_states("repair", epoch, self.repair_epochs, students, losses)


def _class_loss(student: Member, images: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    return weighted_mean(F.cross_entropy(student(images), labels, reduction="none"), weights)


def _noise_state(
    step: int, total: int, request: Request, noises: Tensor, losses: Tensor, last: bool
) -> State:
    scalars: dict[str, Tensor | float] = {
        "noise.retain": losses[~request.forget_mask].mean(),
        "noise.forget": losses[request.forget_mask].mean(),
    }
    return State("noise", step, total, None, scalars, _samples(noises) if last else None)


def _epoch_states(
    stage: str, epoch: int, total: int, students: Members, losses: Tensor
) -> list[State]:
    return [
        State(stage, epoch, total, student, {stage: loss})
        for student, loss in zip(students.unstacked(), losses, strict=True)
    ]


def _samples(noises: Tensor) -> Samples:
    each = max(1, SHOWN // len(noises))
    shown = noises[:, :each].flatten(0, 1)
    labels = torch.arange(len(noises), device=noises.device).repeat_interleave(
        len(shown) // len(noises)
    )
    return Samples(shown, torch.ones(len(shown), device=shown.device), labels)
