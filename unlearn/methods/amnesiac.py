"""Amnesiac unlearning: the forgotten classes' images are learned anew under other labels.

    X, Y = images and classes of all classes
    Y' = Y, but at the forget classes a random retain class, drawn once for each image
    minimise CE(S(X), Y'), the student from the teacher

"Amnesiac Machine Learning" (Graves et al., AAAI 2021), the "unlearning" that it sets beside the
removal of recorded updates; as in its code, Adam. It draws any other class; of several classes to
forget that would teach one under another's name, so a retain class is drawn. On inverted images
(`method/source=inverted`) it needs no data.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.optim import Adam

from unlearn.data.tensors import Access, Split
from unlearn.protocol import Request, Steps
from unlearn.synthesis.sources import Source
from unlearn.training.loops import run_epochs
from unlearn.training.losses import class_loss, relabelled
from unlearn.training.student import taught_student


@dataclass(frozen=True, kw_only=True)
class Amnesiac:
    """The teacher trained on, with the forget classes' images under random retain classes.

    Args:
        source: of the images.
        epochs: over the images.
        batch_size: of a step.
        learning_rate: of Adam.
    """

    source: Source
    epochs: int
    batch_size: int
    learning_rate: float

    @property
    def access(self) -> Access:
        """All classes' images, or none where the source makes them."""
        return self.source.access("all")

    def unlearn(self, request: Request, data: Split | None) -> Steps:
        """Yield the state after each step of the source and each epoch; see `Method`."""
        random = torch.Generator().manual_seed(request.seed)
        examples = yield from self.source.examples(request, data, "all", random)
        examples = relabelled(examples, request, random)
        student = taught_student(request)
        yield from run_epochs(
            "amnesiac",
            student,
            Adam(student.parameters(), self.learning_rate),
            class_loss(student, examples, request.hardware),
            rows=len(examples.labels),
            batch_size=self.batch_size,
            epochs=self.epochs,
            request=request,
            random=random,
        )
