"""Random labels: the forgotten class's images relearned as anything else.

    X = images of the forget classes
    y' = for each of them a retain class, drawn once and evenly
    minimise CE(S(X), y'), the student from the teacher

"Random-label fine-tuning" of "Eternal Sunshine of the Spotless Net" (CVPR 2020), and the half of
"Amnesiac Machine Learning" (AAAI 2021) that needs no retain data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch.optim import SGD

from unlearn.data.tensors import Access, Split
from unlearn.protocol import Request, Steps
from unlearn.synthesis.sources import Source
from unlearn.training.loops import run_epochs
from unlearn.training.losses import class_loss, relabelled
from unlearn.training.student import taught_student


@dataclass(frozen=True, kw_only=True)
class RandomLabels:
    """The teacher trained on the forget classes' images under random retain labels.

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
        examples = yield from self.source.examples(request, data, "forget", random)
        student = taught_student(request, frozen=self.batch_norm == "frozen")
        optimizer = SGD(student.parameters(), self.learning_rate, momentum=0.9)

        yield from run_epochs(
            "relabel",
            student,
            optimizer,
            class_loss(student, relabelled(examples, request, random), request.hardware),
            rows=len(examples.images),
            batch_size=self.batch_size,
            epochs=self.epochs,
            request=request,
            random=random,
        )
