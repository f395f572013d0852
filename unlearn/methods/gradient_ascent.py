"""Gradient ascent: training on the forgotten class's images, backwards.

    X, y = images of the forget classes and their classes
    maximise CE(S(X), y), the student from the teacher, the gradient's norm clipped

The plainest baseline: "NegGrad" of "Eternal Sunshine of the Spotless Net" (CVPR 2020). The loss has
no upper bound, so that nothing but few and clipped steps keeps the rest of the network whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.optim import SGD

from unlearn.data.tensors import Access, Split
from unlearn.protocol import Request, Steps
from unlearn.synthesis.sources import Source
from unlearn.training.loops import run_epochs
from unlearn.training.losses import class_loss
from unlearn.training.student import taught_student


@dataclass(frozen=True, kw_only=True)
class GradientAscent:
    """The teacher driven up the loss of the forget classes' images.

    Args:
        source: of the images.
        epochs: over the images.
        batch_size: of a step.
        learning_rate: of SGD with momentum 0.9.
        clip: largest norm of a gradient.
        batch_norm: the student's: `train`, or `frozen` at the teacher's statistics.
    """

    source: Source
    epochs: int
    batch_size: int
    learning_rate: float
    clip: float
    batch_norm: Literal["train", "frozen"]

    @property
    def access(self) -> Access:
        """The forget classes' images, or none where the source makes them."""
        return self.source.access("forget")

    def unlearn(self, request: Request, data: Split | None) -> Steps:
        """Yield the state after each step of the source and each epoch; see `Method`."""
        random = torch.Generator().manual_seed(request.seed)
        examples = yield from self.source.examples(request, data, "forget", random)
        student = taught_student(request, frozen=self.batch_norm == "frozen")
        optimizer = SGD(student.parameters(), self.learning_rate, momentum=0.9)
        loss_of = class_loss(student, examples, request.hardware)
        yield from run_epochs(
            "ascend",
            student,
            optimizer,
            lambda rows: -loss_of(rows),
            rows=len(examples.images),
            batch_size=self.batch_size,
            epochs=self.epochs,
            request=request,
            random=random,
            adjust=lambda: _clip(student, self.clip),
        )


def _clip(student: nn.Module, largest: float) -> None:
    nn.utils.clip_grad_norm_(student.parameters(), largest)
