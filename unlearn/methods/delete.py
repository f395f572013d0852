"""DELETE: masked distillation on images of the forget classes alone.

    X = images of the forget classes
    p = softmax of T's logits on X, the forget classes masked
    minimise KL(p || S(X)) over S, starting from the teacher T

"Decoupled Distillation to Erase" (Zhou et al., CVPR 2025) and its code: SGD with momentum, batch
norm in train mode. The code masks each row's own class, which is the same for one forget class.
Here all forget classes are masked. On inverted images (`method/source=inverted`) it needs no data.
"""

from collections.abc import Callable
from typing import ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from unlearn.config.schema import CLOSED
from unlearn.models.outputs import compute_logits
from unlearn.protocol import Request
from unlearn.synthesis.sources import Examples
from unlearn.training.labelled import ForgetMethod
from unlearn.training.losses import make_target_loss, target_probabilities


@dataclass(config=CLOSED, kw_only=True)
class Delete(ForgetMethod):
    """Teach the teacher its own masked answers on the forget classes' images.

    Its settings are those of `ForgetMethod`.
    """

    stage: ClassVar[str] = "delete"

    def make_loss(
        self, student: nn.Module, examples: Examples, request: Request, random: torch.Generator
    ) -> Callable[[Tensor], Tensor]:
        """KL(p || S(X))."""
        images, hardware = examples.images, request.hardware
        logits = compute_logits(request.teacher, images, hardware, self.batch_size)
        target = target_probabilities(logits, request.forget_mask, "masked")
        return make_target_loss(student, images, target, hardware)
