"""Error minimization-maximization noise (EMMN): noises that stand for the classes, then impair.

"Zero-Shot Machine Unlearning", Chundawat et al., TIFS 2023, section IV and algorithm 1:

    for each class k, N_k ~ N(0, I):
        forget k:  minimise -CE(T(N_k), k) + lambda * ||N_k||^2
        retain k:  minimise  CE(T(N_k), k)
    impair: train the network on all (N_k, k) with cross-entropy
    repair: distil the teacher's masked answers on the same noises (ours; not in the paper)
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
from unlearn.errors import RunError
from unlearn.methods.base import Observed, Samples, State, Steps, StepsTogether, lone
from unlearn.methods.distillation import answers, distil, shuffled, take, target_probabilities
from unlearn.methods.student import start_student
from unlearn.models.members import Member, Members, each
from unlearn.request import Request
from unlearn.synthesis.noise import ClassNoises

_SHOWN = 64  # samples kept for pictures


@dataclass(frozen=True, kw_only=True)
class ErrorNoise:
    """EMMN, with a repair step that the paper tried on noise alone and left out.

    Args:
        noises: optimised for each class.
        noise_steps: of Adam on the noises.
        noise_learning_rate: halved for a class whose loss stays for `patience` steps.
        regularisation: lambda, on the norm of the forget classes' noises.
        patience: in steps.
        copies: of each noise in an impair epoch.
        batch_size: rows of an impair or repair step.
        epochs: of impair, plain SGD on each noise's own class.
        learning_rate: of impair.
        repair_epochs: of masked distillation from the teacher on the noises; 0 as published.
        repair_learning_rate: of repair (Adam, cosine).
        batch_norm: the student's: `train` or `frozen` at the teacher's statistics.
        as_published: for the record; the config has then laid the published settings over these.
    """

    noises: int
    noise_steps: int
    noise_learning_rate: float
    regularisation: float
    patience: int
    copies: int
    batch_size: int
    epochs: int
    learning_rate: float
    repair_epochs: int
    repair_learning_rate: float
    batch_norm: Literal["train", "frozen"]
    as_published: bool = False

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
        frozen = self.batch_norm == "frozen"
        starts = [start_student(r, share=1.0, fresh_readout=False, frozen=frozen) for r in requests]
        students = Members(starts, hardware, stacked=hardware.stacks)
        images = noises.flatten(1, 2)
        parts = {"students": students, "randoms": randoms}
        for epoch in requests[0].progress.steps("impair", self.epochs, lambda: parts):
            losses = self._impair(students, images, noises.shape[1], randoms)
            yield _epoch_states("impair", epoch, self.epochs, students, losses)
        if self.repair_epochs:
            yield from self._repair(students, images, requests, randoms)

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
        )

    def _impair(
        self, students: Members, images: Tensor, classes: int, randoms: Sequence[torch.Generator]
    ) -> Tensor:
        optimizer = SGD(students.parameters(), self.learning_rate)
        count = images.shape[1]
        labels = torch.arange(classes, device=images.device).repeat_interleave(self.noises)
        for rows in shuffled(count * self.copies, self.batch_size, randoms, images.device):
            losses = each(_class_loss, [students], take(images, rows % count), labels[rows % count])
            optimizer.zero_grad()
            losses.sum().backward()
            optimizer.step()
        if not torch.isfinite(losses).all():
            raise RunError(
                f"method.learning_rate={self.learning_rate}: the impair loss is not finite; "
                "lower it"
            )
        reached: Tensor = losses.detach()
        return reached

    def _repair(
        self,
        students: Members,
        images: Tensor,
        requests: Sequence[Request],
        randoms: Sequence[torch.Generator],
    ) -> StepsTogether:
        targets, weights = [], []
        for request, member in zip(requests, images, strict=True):
            logits = answers(request.teacher, member, self.batch_size, request.hardware)
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


def _class_loss(student: Member, images: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(student(images), labels)


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
    each = max(1, _SHOWN // len(noises))
    shown = noises[:, :each].flatten(0, 1)
    labels = torch.arange(len(noises), device=noises.device).repeat_interleave(
        len(shown) // len(noises)
    )
    return Samples(shown, torch.ones(len(shown), device=shown.device), labels)
