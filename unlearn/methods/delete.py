"""DELETE: masked distillation on images of the forgotten class alone.

    X = images of the forget classes
    p = softmax of the teacher's logits on X, all forget classes masked
    minimise KL(p || S(X)), the student from the teacher

"Decoupled Distillation to Erase" (CVPR 2025) and its code: SGD with momentum, and batch norm in
train mode. It masks each row's own class, which is the same for one class; of several, none is
to be answered. On inverted images (`method/source=inverted`) it needs no data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch.optim import SGD

from unlearn.data.tensors import Access, Split
from unlearn.models.outputs import compute_logits
from unlearn.protocol import Request, Steps
from unlearn.synthesis.sources import Source
from unlearn.training.loops import run_epochs
from unlearn.training.losses import answer_loss, target_probabilities
from unlearn.training.student import taught_student


@dataclass(frozen=True, kw_only=True)
class Delete:
    """The teacher taught its own masked answers on the forget classes' images.

    Args:
        source: of the images.
        epochs: over the images.
        batch_size: of a step.
        learning_rate: of SGD with momentum 0.9.
        batch_norm: the student's: `train`, or `frozen` at the teacher's statistics.
    """

    source: Source
    epochs: int
    batch_size: int
    learning_rate: float
    batch_norm: Literal["train", "frozen"]

    @property
    def access(self) -> Access:
        """The forget classes' images, or none where the source makes them."""
        return self.source.access("forget")

    def unlearn(self, request: Request, data: Split | None) -> Steps:
        """Yield the state after each step of the source and each epoch; see `Method`."""
        random = torch.Generator().manual_seed(request.seed)
        images, _ = yield from self.source.examples(request, data, "forget", random)
        logits = compute_logits(request.teacher, images, request.hardware, self.batch_size)
        target = target_probabilities(logits, request.forget_mask, "masked")
        student = taught_student(request, frozen=self.batch_norm == "frozen")
        optimizer = SGD(student.parameters(), self.learning_rate, momentum=0.9)
        yield from run_epochs(
            "delete",
            student,
            optimizer,
            answer_loss(student, images, target, request.hardware),
            rows=len(images),
            batch_size=self.batch_size,
            epochs=self.epochs,
            request=request,
            random=random,
        )
