"""Error minimization-maximization noise (EMMN): noises that stand for the classes, then impair.

"Zero-Shot Machine Unlearning", Chundawat et al., TIFS 2023, section IV and algorithm 1:

    for each class k, N_k ~ N(0, I):
        forget k:  minimise -CE(T(N_k), k) + lambda * ||N_k||^2
        retain k:  minimise  CE(T(N_k), k)
    impair: train the network on all (N_k, k) with cross-entropy
    repair: distil the teacher's masked answers on the same noises (ours; not in the paper)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD

from unlearn.data.tensors import Access, Split
from unlearn.errors import RunError
from unlearn.methods.base import Samples, State, Steps
from unlearn.methods.distillation import answers, distil, target_probabilities
from unlearn.methods.student import start_student
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
        random = torch.Generator().manual_seed(request.seed)
        student = start_student(
            request, share=1.0, fresh_readout=False, frozen=self.batch_norm == "frozen"
        )
        synthesis = ClassNoises(
            noises=self.noises,
            steps=self.noise_steps,
            learning_rate=self.noise_learning_rate,
            regularisation=self.regularisation,
            patience=self.patience,
        )
        for step, noises, losses in synthesis.optimise(request, random):
            kept = losses[~request.forget_mask].mean()
            forgotten = losses[request.forget_mask].mean()
            scalars = {"noise.retain": kept, "noise.forget": forgotten}
            samples = _samples(noises) if step == self.noise_steps else None
            yield State("noise", step, self.noise_steps, None, scalars, samples)
        images = noises.flatten(0, 1)
        labels = torch.arange(request.num_classes).repeat_interleave(self.noises).to(images.device)
        for epoch in range(1, self.epochs + 1):
            loss = self._impair(student, images, labels, request, random)
            yield State("impair", epoch, self.epochs, student, {"impair": loss})
        if self.repair_epochs:
            yield from self._repair(student, images, request, random)

    def _impair(
        self,
        student: nn.Module,
        images: Tensor,
        labels: Tensor,
        request: Request,
        random: torch.Generator,
    ) -> Tensor:
        optimizer = SGD(student.parameters(), self.learning_rate)
        rows = torch.randperm(len(images) * self.copies, generator=random) % len(images)
        for part in rows.to(images.device).split(self.batch_size):
            with request.hardware.autocast():
                logits = student(request.hardware.layout(images[part]))
            loss = F.cross_entropy(logits.float(), labels[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if not torch.isfinite(loss):
            raise RunError(
                f"method.learning_rate={self.learning_rate}: the impair loss is not finite; "
                "lower it"
            )
        return loss.detach()

    def _repair(
        self, student: nn.Module, images: Tensor, request: Request, random: torch.Generator
    ) -> Steps:
        logits = answers(request.teacher, images, self.batch_size, request.hardware)
        targets = target_probabilities(logits, request.forget_mask, "masked")
        weights = request.filter(logits, request.forget_mask)
        for epoch, loss in distil(
            student,
            images,
            targets,
            weights,
            epochs=self.repair_epochs,
            batch_size=self.batch_size,
            learning_rate=self.repair_learning_rate,
            temperature=1.0,
            random=random,
            hardware=request.hardware,
        ):
            yield State("repair", epoch, self.repair_epochs, student, {"repair": loss})


def _samples(noises: Tensor) -> Samples:
    each = max(1, _SHOWN // len(noises))
    shown = noises[:, :each].flatten(0, 1)
    labels = torch.arange(len(noises), device=noises.device).repeat_interleave(
        len(shown) // len(noises)
    )
    return Samples(shown, torch.ones(len(shown), device=shown.device), labels)
