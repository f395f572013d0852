"""SCRUB: drive the student from the teacher on the forget classes, and keep it there elsewhere.

    for each epoch, the student starting from the teacher:
        in the first M epochs, over the forget classes' images:
            minimise -KL_T(T(X_F) || S(X_F))
        over the retain classes' images:
            minimise gamma * CE(S(X_R), Y_R) + alpha * KL_T(T(X_R) || S(X_R))

"Towards Unbounded Machine Unlearning" (Kurmanji et al., NeurIPS 2023), without the rewinding that
the paper adds against membership inference. As in its code (`train_distill`, `DistillKL`), one SGD
with momentum does both, and KL_T is times T^2. Its weight decay and rate steps are left out. On
inverted images (`method/source=inverted`) it needs no data.
"""

from collections.abc import Callable
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from unlearn.config.schema import CLOSED
from unlearn.data.tensors import Split
from unlearn.models.outputs import compute_logits
from unlearn.protocol import Request, Steps
from unlearn.synthesis.sources import Examples, WantedClasses
from unlearn.training.labelled import EpochMethod
from unlearn.training.loops import Pass
from unlearn.training.losses import row_divergence, target_probabilities


@dataclass(config=CLOSED, kw_only=True)
class Scrub(EpochMethod):
    """Drive the teacher away from itself on the forget classes and hold it elsewhere.

    Args: those of `EpochMethod` (epochs and batches of the retain images), and
        maximise_epochs: Epochs that begin with a pass over the forget images (M in the paper), at
            least 0.
        forget_batch_size: Images of a step on forget images, at least 1.
        class_weight: Weight of the cross-entropy on retain images (gamma), at least 0.
        distillation_weight: Weight of the divergence on retain images (alpha), at least 0.
        temperature: Temperature of the divergences (T), above 0.
    """

    wanted: ClassVar[WantedClasses] = "all"
    stage: ClassVar[str] = "scrub"
    maximise_epochs: NonNegativeInt
    forget_batch_size: PositiveInt
    class_weight: NonNegativeFloat
    distillation_weight: NonNegativeFloat
    temperature: PositiveFloat

    def unlearn(self, request: Request, data: Split | None) -> Steps:
        """Yield the state after each step of the source and each epoch; see `Method`."""
        random = torch.Generator().manual_seed(request.seed)
        examples = yield from self.collect(request, data, random)
        forget, retain = examples.of(request.forget), examples.of(request.retain)
        student = self.copy_teacher(request)
        away, back = self.make_losses(student, forget, retain, request)
        both = [
            Pass("maximise", away, len(forget.labels), self.forget_batch_size),
            Pass("minimise", back, len(retain.labels), self.batch_size),
        ]
        yield from self.train(
            student, lambda epoch: both[epoch > self.maximise_epochs :], request, random
        )

    def make_losses(
        self, student: nn.Module, forget: Examples, retain: Examples, request: Request
    ) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
        """Return the losses on row numbers (B,) of the forget images and of the retain images."""
        run = request.hardware.run
        taught, kept = (self._make_targets(request, rows.images) for rows in (forget, retain))

        def away(rows: Tensor) -> Tensor:
            return -self._divergence(taught[rows], run(student, forget.images[rows]))

        def back(rows: Tensor) -> Tensor:
            logits = run(student, retain.images[rows])
            error = F.cross_entropy(logits, retain.labels[rows])
            divergence = self._divergence(kept[rows], logits)
            return self.class_weight * error + self.distillation_weight * divergence

        return away, back

    def _make_targets(self, request: Request, images: Tensor) -> Tensor:
        logits = compute_logits(request.teacher, images, request.hardware, self.batch_size)
        return target_probabilities(logits, request.forget_mask, "raw", self.temperature)

    def _divergence(self, target: Tensor, logits: Tensor) -> Tensor:
        return self.temperature**2 * row_divergence(target, logits, self.temperature).mean()
