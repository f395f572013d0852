"""Bad teacher: an untrained network teaches the forgotten classes, the original all others.

    X = images of all classes
    p = softmax of an untrained network's logits on X of the forget classes, of the teacher's on
        the others
    minimise KL(p || S(X)), the student from the teacher

"Can Bad Teaching Induce Forgetting?" (Chundawat et al., AAAI 2023); as in its code (`unlearn.py`,
`UnlearnerLoss`), Adam, both teachers in eval mode. The paper draws 30% of the retain images; here
all take part, or `method.source.most` of each class. On inverted images (`method/source=inverted`)
it needs no data.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Adam

from unlearn.data.tensors import Access, Split
from unlearn.models.outputs import compute_logits
from unlearn.protocol import Request, Steps
from unlearn.synthesis.sources import Examples, Source
from unlearn.training.loops import run_epochs
from unlearn.training.losses import answer_loss, target_probabilities
from unlearn.training.student import taught_student


@dataclass(frozen=True, kw_only=True)
class BadTeacher:
    """The teacher taught by an untrained network on the forget classes and by itself elsewhere.

    Args:
        source: of the images.
        epochs: over the images.
        batch_size: of a step.
        learning_rate: of Adam.
        temperature: of all softmaxes.
    """

    source: Source
    epochs: int
    batch_size: int
    learning_rate: float
    temperature: float

    @property
    def access(self) -> Access:
        """All classes' images, or none where the source makes them."""
        return self.source.access("all")

    def unlearn(self, request: Request, data: Split | None) -> Steps:
        """Yield the state after each step of the source and each epoch; see `Method`."""
        random = torch.Generator().manual_seed(request.seed)
        examples = yield from self.source.examples(request, data, "all", random)
        target = self.targets(request, examples)
        student = taught_student(request)
        yield from run_epochs(
            "bad_teacher",
            student,
            Adam(student.parameters(), self.learning_rate),
            answer_loss(student, examples.images, target, request.hardware, self.temperature),
            rows=len(target),
            batch_size=self.batch_size,
            epochs=self.epochs,
            request=request,
            random=random,
        )

    def targets(self, request: Request, examples: Examples) -> Tensor:
        """What each row (N,) is taught to answer: probabilities (N, K)."""
        untrained = request.hardware.place(request.fresh()).eval()
        bad, good = (
            target_probabilities(
                compute_logits(network, examples.images, request.hardware, self.batch_size),
                request.forget_mask,
                "raw",
                self.temperature,
            )
            for network in (untrained, request.teacher)
        )
        return torch.where(request.forget_mask[examples.labels][:, None], bad, good)
