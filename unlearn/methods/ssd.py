"""SSD: dampen the weights that matter far more to the forget classes than to all; no training.

    I_F = mean over batches of the forget classes' images of (gradient of CE)^2
    I_D = the same over batches of all classes' images
    where I_F > alpha * I_D:  theta <- theta * min(lambda * I_D / I_F, 1)

"Fast Machine Unlearning Without Retraining Through Selective Synaptic Dampening" (Foster et al.,
AAAI 2024), with the network in eval mode. The paper squares the gradients of single images
(`method.batch_size=1`). Its code (`ssd.py`, `calc_importance`) squares those of batches, as here.
The difference matters: with single images, I_F <= (all images / forget images) * I_D, so that one
of ten classes of equal size selects nothing at alpha = 10. In batches of all classes the gradients
of unlike images cancel. On inverted images (`method/source=inverted`) it needs no data.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from pydantic import NonNegativeFloat
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from unlearn.config.schema import CLOSED
from unlearn.data.tensors import Split
from unlearn.protocol import Request, State, Steps
from unlearn.synthesis.sources import WantedClasses
from unlearn.training.labelled import LabelledMethod
from unlearn.training.loops import average_gradients
from unlearn.training.student import copy_teacher


@dataclass(config=CLOSED, kw_only=True)
class SelectiveDampening(LabelledMethod):
    """Dampen the teacher's weights that matter most to the forget classes.

    Args: those of `LabelledMethod` (gradients are averaged over a batch before they are squared),
        selection_weight: A weight is dampened where its I_F exceeds this many times its I_D (alpha
            in the paper), at least 0.
        dampening: A dampened weight is multiplied by this many times I_D / I_F (lambda), at least
            0.
    """

    wanted: ClassVar[WantedClasses] = "all"
    selection_weight: NonNegativeFloat
    dampening: NonNegativeFloat

    def unlearn(self, request: Request, data: Split | None) -> Steps:
        """Yield the state after each step of the source, each batch and the dampening."""
        random = torch.Generator().manual_seed(request.seed)
        examples = yield from self.collect(request, data, random)
        student = copy_teacher(request).eval()
        importances = []
        for name, rows in (("forget", examples.of(request.forget)), ("all", examples)):
            squares = yield from average_gradients(
                f"importance.{name}",
                student,
                rows,
                torch.square,
                batch_size=self.batch_size,
                request=request,
                random=random,
            )
            importances.append(squares)
        share = self.dampen(student, *importances)
        yield State("dampen", 1, 1, student, {"dampened": share})

    @torch.no_grad()
    def dampen(
        self, student: nn.Module, forget: Sequence[Tensor], every: Sequence[Tensor]
    ) -> Tensor:
        """Dampen a student in place; return the share of dampened weights.

        Args:
            student: The network.
            forget: I_F of each parameter.
            every: I_D of each parameter.
        """
        dampened, count = torch.zeros((), device=forget[0].device), 0
        for weight, own, shared in zip(student.parameters(), forget, every, strict=True):
            chosen = own > self.selection_weight * shared
            factor = (self.dampening * shared / own).clamp(max=1)
            weight.copy_(torch.where(chosen, weight * factor, weight))
            dampened, count = dampened + chosen.sum(), count + chosen.numel()
        return dampened / count
