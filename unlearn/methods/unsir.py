"""UNSIR: noise that the teacher calls anything but the forgotten class is learned as that class.

    for each forget class f:  N_f ~ N(0, I)
        minimise -CE(T(N_f), f) + lambda * ||N_f||^2
    impair: minimise CE(S(X), Y) over all (N_f, f), many times each, and the retain images
    repair: minimise CE(S(X), Y) over the retain images, the student from the impaired one

"Fast Yet Effective Machine Unlearning" (Tarun et al., TNNLS 2023); as in its code (a notebook),
Adam, and retain images in the impair step too. The code puts the noises of all forget classes
under class 0, each here under its own. On inverted images (`method/source=inverted`) it needs no
data.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Adam

from unlearn.data.tensors import Access, Split
from unlearn.protocol import Request, State, Steps
from unlearn.synthesis.noise import ClassNoises
from unlearn.synthesis.sources import Examples, Source
from unlearn.training.loops import run_epochs
from unlearn.training.losses import class_loss
from unlearn.training.student import taught_student


@dataclass(frozen=True, kw_only=True)
class Unsir:
    """The teacher impaired by noise under the forget classes' names, then repaired.

    Args:
        source: of the retain images.
        images: of each retain class that take part, at most.
        noises: optimised for each forget class.
        noise_steps: of Adam on the noises.
        noise_learning_rate: of Adam.
        regularisation: lambda, on the squared norm of a noise.
        copies: of each noise in an epoch of impair.
        batch_size: of a step of impair and repair.
        epochs: of impair.
        learning_rate: of impair (Adam).
        repair_epochs: of repair; 0 leaves it out.
        repair_learning_rate: of repair (Adam).
    """

    source: Source
    images: int
    noises: int
    noise_steps: int
    noise_learning_rate: float
    regularisation: float
    copies: int
    batch_size: int
    epochs: int
    learning_rate: float
    repair_epochs: int
    repair_learning_rate: float

    @property
    def access(self) -> Access:
        """The retain classes' images, or none where the source makes them."""
        return self.source.access("retain")

    def unlearn(self, request: Request, data: Split | None) -> Steps:
        """Yield the state after each step of source and noises and each epoch; see `Method`."""
        random = torch.Generator().manual_seed(request.seed)
        retain = yield from self.source.examples(request, data, "retain", random, self.images)
        noises = yield from self._noises(request, random)
        student = taught_student(request)
        yield from self._impair(student, retain, noises, request, random)
        optimizer = Adam(student.parameters(), self.repair_learning_rate)
        yield from run_epochs(
            "repair",
            student,
            optimizer,
            class_loss(student, retain, request.hardware),
            rows=len(retain.labels),
            batch_size=self.batch_size,
            epochs=self.repair_epochs,
            request=request,
            random=random,
        )

    def _noises(
        self, request: Request, random: torch.Generator
    ) -> Generator[State, object, Examples]:
        """Yield the state after each noise step; return the noises under their classes' names."""
        steps = self.synthesis().optimise(request, random, request.forget)
        while True:
            try:
                step, _, losses = next(steps)
            except StopIteration as end:
                images: Tensor = end.value.flatten(0, 1)
                labels = torch.tensor(request.forget, device=images.device)
                return Examples(images, labels.repeat_interleave(self.noises))
            yield State("noise", step, self.noise_steps, None, {"noise.forget": losses.mean()})

    def synthesis(self) -> ClassNoises:
        """The settings of the noises."""
        return ClassNoises(
            noises=self.noises,
            steps=self.noise_steps,
            learning_rate=self.noise_learning_rate,
            regularisation=self.regularisation,
            patience=self.noise_steps,  # so that the rate stays
            maximised=1.0,
            valid=False,
        )

    def _impair(
        self,
        student: nn.Module,
        retain: Examples,
        noises: Examples,
        request: Request,
        random: torch.Generator,
    ) -> Steps:
        every = Examples(*(torch.cat(parts) for parts in zip(retain, noises, strict=True)))
        rows = torch.arange(len(every.labels), device=every.labels.device)
        first = len(retain.labels)
        order = torch.cat([rows[:first], rows[first:].repeat(self.copies)])
        loss_of = class_loss(student, every, request.hardware)
        yield from run_epochs(
            "impair",
            student,
            Adam(student.parameters(), self.learning_rate),
            lambda picked: loss_of(order[picked]),
            rows=len(order),
            batch_size=self.batch_size,
            epochs=self.epochs,
            request=request,
            random=random,
        )
