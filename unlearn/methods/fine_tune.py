"""Fine-tuning: training goes on without the forgotten classes, which fade as far as they do.

    X, Y = images and classes of the retain classes
    minimise CE(S(X), Y), the student from the teacher

The baseline that counts on catastrophic forgetting: "Fine-tune" in "Eternal Sunshine of the
Spotless Net" (Golatkar et al., CVPR 2020). On inverted images (`method/source=inverted`) it needs
no data.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.optim import SGD

from unlearn.data.tensors import Access, Split
from unlearn.protocol import Request, Steps
from unlearn.synthesis.sources import Source
from unlearn.training.loops import run_epochs
from unlearn.training.losses import class_loss
from unlearn.training.student import taught_student


@dataclass(frozen=True, kw_only=True)
class FineTune:
    """The teacher trained on with the retain classes alone.

    Args:
        source: of the images.
        epochs: over the images.
        batch_size: of a step.
        learning_rate: of SGD with momentum 0.9.
    """

    source: Source
    epochs: int
    batch_size: int
    learning_rate: float

    @property
    def access(self) -> Access:
        """The retain classes' images, or none where the source makes them."""
        return self.source.access("retain")

    def unlearn(self, request: Request, data: Split | None) -> Steps:
        """Yield the state after each step of the source and each epoch; see `Method`."""
        random = torch.Generator().manual_seed(request.seed)
        examples = yield from self.source.examples(request, data, "retain", random)
        student = taught_student(request)
        yield from run_epochs(
            "fine_tune",
            student,
            SGD(student.parameters(), self.learning_rate, momentum=0.9),
            class_loss(student, examples, request.hardware),
            rows=len(examples.labels),
            batch_size=self.batch_size,
            epochs=self.epochs,
            request=request,
            random=random,
        )
