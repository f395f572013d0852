"""SalUn: random labels are learned by those weights alone that the forgotten classes hang on.

    g = gradient of CE(T(X_F), Y_F) over the images of the forget classes
    m = 1 at the share k of all weights where |g| is largest, 0 elsewhere
    Y' = Y, but at the forget classes a random retain class, drawn once for each image
    minimise CE(S(X), Y') over all images, the student from the teacher, gradients times m

"SalUn" (Fan et al., ICLR 2024); as in its code (`generate_mask.py`, `RL.py`), SGD with momentum.
The code decays weights and draws any class anew in every epoch, the true one among them; here
nothing moves a weight that the mask keeps, and a label is another class as the paper says. On
inverted images (`method/source=inverted`) it needs no data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import SGD

from unlearn.data.tensors import Access, Split
from unlearn.protocol import Request, Steps
from unlearn.synthesis.sources import Source
from unlearn.training.loops import average_gradients, run_epochs
from unlearn.training.losses import class_loss, relabelled
from unlearn.training.student import taught_student


@dataclass(frozen=True, kw_only=True)
class SaliencyUnlearning:
    """The teacher's salient weights trained on, the forget classes' images under other labels.

    Args:
        source: of the images.
        salient: k, the share of weights that may change, in [0, 1].
        epochs: over the images.
        batch_size: of a step.
        learning_rate: of SGD with momentum 0.9.
    """

    source: Source
    salient: float
    epochs: int
    batch_size: int
    learning_rate: float

    @property
    def access(self) -> Access:
        """All classes' images, or none where the source makes them."""
        return self.source.access("all")

    def unlearn(self, request: Request, data: Split | None) -> Steps:
        """Yield the state after each step of the source, each batch of g and each epoch."""
        random = torch.Generator().manual_seed(request.seed)
        examples = yield from self.source.examples(request, data, "all", random)
        student = taught_student(request)
        gradients = yield from average_gradients(
            "saliency",
            student.eval(),
            examples.of(request.forget),
            torch.clone,
            batch_size=self.batch_size,
            request=request,
            random=random,
        )
        masks = salient_weights(gradients, self.salient)

        def adjust() -> None:
            for weight, mask in zip(student.parameters(), masks, strict=True):
                if weight.grad is not None:
                    weight.grad.mul_(mask)

        examples = relabelled(examples, request, random)
        yield from run_epochs(
            "salun",
            student.train(),
            SGD(student.parameters(), self.learning_rate, momentum=0.9),
            class_loss(student, examples, request.hardware),
            rows=len(examples.labels),
            batch_size=self.batch_size,
            epochs=self.epochs,
            request=request,
            random=random,
            adjust=adjust,
        )


def salient_weights(gradients: Sequence[Tensor], share: float) -> list[Tensor]:
    """Which weights have the largest gradients in magnitude, all tensors taken together.

    Args:
        gradients: one a parameter.
        share: of all weights, in [0, 1].

    Returns:
        Bool tensors in the gradients' shapes.
    """
    sizes = torch.cat([gradient.abs().flatten() for gradient in gradients])
    chosen = torch.zeros_like(sizes, dtype=torch.bool)
    chosen[sizes.topk(round(share * len(sizes))).indices] = True
    parts = chosen.split([gradient.numel() for gradient in gradients])
    return [part.view_as(gradient) for part, gradient in zip(parts, gradients, strict=True)]
