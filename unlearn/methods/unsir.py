"""UNSIR: impair the forget classes with noise that the teacher gives to others, then repair.

    for each forget class f:  N_f ~ N(0, I)
        minimise -CE(T(N_f), f) + lambda * ||N_f||^2
    impair: minimise CE(S(X), Y) over all (N_f, f), many times each, and the retain images
    repair: minimise CE(S(X), Y) over the retain images, the student from the impaired one

"Fast Yet Effective Machine Unlearning" (Tarun et al., TNNLS 2023). As in its code (a notebook),
with Adam, and with retain images in the impair step too. The code labels the noises of all forget
classes with class 0; here each has its own class. On inverted images (`method/source=inverted`) it
needs no data.
"""

from typing import ClassVar

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from unlearn.config.schema import CLOSED
from unlearn.data.tensors import Split
from unlearn.optimizers import Adam
from unlearn.protocol import Request, Steps
from unlearn.synthesis.noise import ClassNoises
from unlearn.synthesis.sources import Examples, WantedClasses
from unlearn.training.labelled import LabelledMethod
from unlearn.training.loops import Pass, run_epochs
from unlearn.training.losses import make_class_loss
from unlearn.training.student import copy_teacher


@dataclass(config=CLOSED, kw_only=True)
class Unsir(LabelledMethod):
    """Impair the teacher with noise labelled as the forget classes, then repair it.

    Args: those of `LabelledMethod` (the source gives the retain images), and
        images: Largest number of images of each retain class, at least 1.
        noises: Noises optimised for each forget class, at least 1.
        noise_steps: Steps of Adam on the noises, at least 1.
        noise_learning_rate: Learning rate of the noises, above 0.
        regularisation: Weight of the squared norm of a noise (lambda in the paper), at least 0.
        copies: Copies of each noise in an epoch of impair, at least 1.
        epochs: Epochs of impair, at least 1.
        learning_rate: Learning rate of impair (Adam), above 0.
        repair_epochs: Epochs of repair, at least 0.
        repair_learning_rate: Learning rate of repair (Adam), above 0.
    """

    wanted: ClassVar[WantedClasses] = "retain"
    images: PositiveInt
    noises: PositiveInt
    noise_steps: PositiveInt
    noise_learning_rate: PositiveFloat
    regularisation: NonNegativeFloat
    copies: PositiveInt
    epochs: PositiveInt
    learning_rate: PositiveFloat
    repair_epochs: NonNegativeInt
    repair_learning_rate: PositiveFloat

    def unlearn(self, request: Request, data: Split | None) -> Steps:
        """Yield the state after each step of source and noises and each epoch; see `Method`."""
        random, forget = torch.Generator().manual_seed(request.seed), request.forget
        retain = yield from self.collect(request, data, random, self.images)
        noises = yield from self.synthesis().optimise(request, random, forget)
        images = noises.flatten(0, 1)
        labels = torch.tensor(forget, device=images.device).repeat_interleave(self.noises)
        student = copy_teacher(request)
        yield from self._impair(student, retain, Examples(images, labels), request, random)
        repair = make_class_loss(student, retain, request.hardware)
        yield from run_epochs(
            "repair",
            student,
            Adam(student.parameters(), self.repair_learning_rate),
            lambda _: [Pass("repair", repair, len(retain.labels), self.batch_size)],
            epochs=self.repair_epochs,
            request=request,
            random=random,
        )

    def synthesis(self) -> ClassNoises:
        """The optimisation of the noises; its learning rate is never halved."""
        return ClassNoises(
            noises=self.noises,
            steps=self.noise_steps,
            learning_rate=self.noise_learning_rate,
            regularisation=self.regularisation,
            patience=self.noise_steps,
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
        error = make_class_loss(student, every, request.hardware)

        def loss_of(rows: Tensor) -> Tensor:
            return error(order[rows])

        yield from run_epochs(
            "impair",
            student,
            Adam(student.parameters(), self.learning_rate),
            lambda _: [Pass("impair", loss_of, len(order), self.batch_size)],
            epochs=self.epochs,
            request=request,
            random=random,
        )
