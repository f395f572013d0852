"""DELETE: masked distillation on images of the forget classes alone.

    X = images of the forget classes
    p = softmax of T's logits on X, the forget classes masked
    minimise KL(p || S(X)) over S, starting from the teacher T

"Decoupled Distillation to Erase" (Zhou et al., CVPR 2025) and its code: SGD with momentum, batch
norm in train mode. The code masks each row's own class, which is the same for one forget class.
Here all forget classes are masked. On inverted images (`method/source=inverted`) it needs no data.
"""

from typing import ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch.optim import SGD

from unlearn.config.schema import CLOSED
from unlearn.data.tensors import Split
from unlearn.models.outputs import compute_logits
from unlearn.protocol import Request, Steps
from unlearn.synthesis.sources import WantedClasses
from unlearn.training.labelled import EpochMethod
from unlearn.training.losses import make_target_loss, target_probabilities
from unlearn.training.student import BatchNorm, copy_teacher


@dataclass(config=CLOSED, kw_only=True)
class Delete(EpochMethod):
    """Teach the teacher its own masked answers on the forget classes' images.

    Args: those of `EpochMethod` (the optimiser is SGD with momentum 0.9), and
        batch_norm: Batch norm of the student: `train`, or `frozen` at the teacher's statistics.
    """

    wanted: ClassVar[WantedClasses] = "forget"
    batch_norm: BatchNorm

    def unlearn(self, request: Request, data: Split | None) -> Steps:
        """Yield the state after each step of the source and each epoch; see `Method`."""
        random = torch.Generator().manual_seed(request.seed)
        images, _ = yield from self.collect(request, data, random)
        logits = compute_logits(request.teacher, images, request.hardware, self.batch_size)
        target = target_probabilities(logits, request.forget_mask, "masked")
        student = copy_teacher(request, self.batch_norm)
        optimizer = SGD(student.parameters(), self.learning_rate, momentum=0.9)
        loss_of = make_target_loss(student, images, target, request.hardware)
        rows = len(images)
        yield from self.train("delete", student, optimizer, loss_of, rows, request, random)
