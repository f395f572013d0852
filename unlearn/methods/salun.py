"""SalUn: learn random labels with those weights alone that matter to the forget classes.

    g = gradient of CE(T(X_F), Y_F) over the images of the forget classes
    m = 1 at the share k of all weights where |g| is largest, 0 elsewhere
    Y'_F = a random retain class, drawn once for each image of the forget classes
    for each epoch, S starting from the teacher T, gradients times m:
        minimise CE(S(X_F), Y'_F) over the images of the forget classes
        minimise CE(S(X_R), Y_R) over the images of the retain classes

"SalUn" (Fan et al., ICLR 2024). As in its code for CIFAR-10 (`generate_mask.py`, `RL.py`), with SGD
and momentum, and with the forget images before the retain images in each epoch. The code decays
weights, and draws any class anew in every epoch, the true one among them. Here nothing moves a
weight outside the mask, and a label is another class as in the paper.
On inverted images (`method/source=inverted`) it needs no data.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from unlearn.config.schema import CLOSED, Share
from unlearn.data.tensors import Split
from unlearn.protocol import Request, Steps
from unlearn.synthesis.sources import WantedClasses
from unlearn.training.labelled import EpochMethod
from unlearn.training.loops import Pass, average_gradients
from unlearn.training.losses import make_class_loss, relabel_randomly
from unlearn.training.student import copy_teacher


@dataclass(config=CLOSED, kw_only=True)
class SaliencyUnlearning(EpochMethod):
    """Train the teacher's salient weights, the forget classes' images under other labels.

    Args: those of `EpochMethod`, and
        salient: Share of the weights that may change (k in the paper), in [0, 1].
    """

    wanted: ClassVar[WantedClasses] = "all"
    stage: ClassVar[str] = "salun"
    salient: Share

    def unlearn(self, request: Request, data: Split | None) -> Steps:
        """Yield the state after each step of the source, each batch of g and each epoch."""
        random = torch.Generator().manual_seed(request.seed)
        examples = yield from self.collect(request, data, random)
        student = copy_teacher(request)
        gradients = yield from average_gradients(
            "saliency",
            student.eval(),
            examples.of(request.forget),
            torch.clone,
            batch_size=self.batch_size,
            request=request,
            random=random,
        )
        masks = find_salient(gradients, self.salient)

        def mask() -> None:
            for weight, salient in zip(student.parameters(), masks, strict=True):
                if weight.grad is not None:
                    weight.grad.mul_(salient)

        relabelled = relabel_randomly(examples.of(request.forget), request, random)
        passes = [
            Pass(
                name,
                make_class_loss(student, own, request.hardware),
                len(own.labels),
                self.batch_size,
            )
            for name, own in (("forget", relabelled), ("retain", examples.of(request.retain)))
        ]
        yield from self.train(student.train(), lambda _: passes, request, random, mask)


def find_salient(gradients: Sequence[Tensor], share: float) -> list[Tensor]:
    """Find the weights with the largest gradients in magnitude, all tensors taken together.

    Args:
        gradients: One tensor a parameter.
        share: Share of all weights, in [0, 1].

    Returns:
        Bool tensors in the gradients' shapes.
    """
    sizes = torch.cat([gradient.abs().flatten() for gradient in gradients])
    chosen = torch.zeros_like(sizes, dtype=torch.bool)
    chosen[sizes.topk(round(share * len(sizes))).indices] = True
    parts = chosen.split([gradient.numel() for gradient in gradients])
    return [part.view_as(gradient) for part, gradient in zip(parts, gradients, strict=True)]
