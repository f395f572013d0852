"""SCRUB: the student leaves the teacher on the forgotten classes and stays by it on the others.

    for each epoch, the student from the teacher:
        in the first M epochs, over the forget classes' images:
            minimise -KL_T(T(X_F) || S(X_F))
        over the retain classes' images:
            minimise gamma * CE(S(X_R), Y_R) + alpha * KL_T(T(X_R) || S(X_R))

"Towards Unbounded Machine Unlearning" (Kurmanji et al., NeurIPS 2023), without the rewinding that
it adds against membership inference; as in its code (`train_distill`, `DistillKL`), SGD with
momentum through both, and KL_T times T^2. Its weight decay and rate steps are left out. On
inverted images (`method/source=inverted`) it needs no data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD

from unlearn.data.tensors import Access, Split
from unlearn.models.outputs import compute_logits
from unlearn.protocol import Request, State, Steps
from unlearn.synthesis.sources import Examples, Source
from unlearn.training.loops import run_epoch
from unlearn.training.losses import row_divergence, target_probabilities
from unlearn.training.student import taught_student


@dataclass(frozen=True, kw_only=True)
class Scrub:
    """The teacher driven away from itself on the forget classes and held elsewhere.

    Args:
        source: of the images.
        epochs: over the retain images.
        maximise_epochs: M: how many of them begin with a pass over the forget images.
        batch_size: of a step on retain images.
        forget_batch_size: of a step on forget images.
        learning_rate: of SGD with momentum 0.9.
        class_weight: gamma, of the class loss on retain images.
        distillation_weight: alpha, of the divergence on retain images.
        temperature: T of the divergences.
    """

    source: Source
    epochs: int
    maximise_epochs: int
    batch_size: int
    forget_batch_size: int
    learning_rate: float
    class_weight: float
    distillation_weight: float
    temperature: float

    @property
    def access(self) -> Access:
        """All classes' images, or none where the source makes them."""
        return self.source.access("all")

    def unlearn(self, request: Request, data: Split | None) -> Steps:
        """Yield the state after each step of the source and each epoch; see `Method`."""
        random = torch.Generator().manual_seed(request.seed)
        examples = yield from self.source.examples(request, data, "all", random)
        forget, retain = examples.of(request.forget), examples.of(request.retain)
        student = taught_student(request)
        optimizer = SGD(student.parameters(), self.learning_rate, momentum=0.9)
        away, back = self.losses(student, forget, retain, request)
        parts = {"student": student, "optimizer": optimizer, "random": random}
        turns = [("maximise", away, len(forget.labels), self.forget_batch_size)]
        turns += [("minimise", back, len(retain.labels), self.batch_size)]
        for epoch in request.progress.steps("scrub", self.epochs, lambda: parts):
            figures = {
                name: run_epoch(
                    name,
                    optimizer,
                    loss_of,
                    rows=rows,
                    batch_size=batch_size,
                    hardware=request.hardware,
                    random=random,
                )
                for name, loss_of, rows, batch_size in turns[epoch > self.maximise_epochs :]
            }
            yield State("scrub", epoch, self.epochs, student, figures)

    def losses(
        self, student: nn.Module, forget: Examples, retain: Examples, request: Request
    ) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
        """What a step on rows of the forget images minimises, and one on the retain images."""
        hardware = request.hardware
        taught, kept = (self._targets(request, rows.images) for rows in (forget, retain))

        def away(rows: Tensor) -> Tensor:
            logits = hardware.run(student, forget.images[rows])
            return -self._divergence(taught[rows], logits)

        def back(rows: Tensor) -> Tensor:
            logits = hardware.run(student, retain.images[rows])
            wrong = F.cross_entropy(logits, retain.labels[rows])
            apart = self._divergence(kept[rows], logits)
            return self.class_weight * wrong + self.distillation_weight * apart

        return away, back

    def _targets(self, request: Request, images: Tensor) -> Tensor:
        logits = compute_logits(request.teacher, images, request.hardware, self.batch_size)
        return target_probabilities(logits, request.forget_mask, "raw", self.temperature)

    def _divergence(self, target: Tensor, logits: Tensor) -> Tensor:
        return self.temperature**2 * row_divergence(target, logits, self.temperature).mean()
