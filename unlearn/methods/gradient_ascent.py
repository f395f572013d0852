"""Gradient ascent: training on the forget classes' images, backwards.

    X, y = images of the forget classes and their labels
    maximise CE(S(X), y) over S, starting from the teacher T, with clipped gradients

The plainest baseline: "NegGrad" of "Eternal Sunshine of the Spotless Net" (Golatkar et al., CVPR
2020). The loss has no upper bound: only few and clipped steps keep the rest of the network intact.
"""

from typing import ClassVar

import torch
from pydantic import PositiveFloat
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.optim import SGD

from unlearn.config.schema import CLOSED
from unlearn.data.tensors import Split
from unlearn.protocol import Request, Steps
from unlearn.synthesis.sources import WantedClasses
from unlearn.training.labelled import EpochMethod
from unlearn.training.losses import make_class_loss
from unlearn.training.student import BatchNorm, copy_teacher


@dataclass(config=CLOSED, kw_only=True)
class GradientAscent(EpochMethod):
    """Raise the teacher's loss on the forget classes' images.

    Args: those of `EpochMethod` (the optimiser is SGD with momentum 0.9), and
        clip: Largest norm of a gradient, above 0.
        batch_norm: Batch norm of the student: `train`, or `frozen` at the teacher's statistics.
    """

    wanted: ClassVar[WantedClasses] = "forget"
    clip: PositiveFloat
    batch_norm: BatchNorm

    def unlearn(self, request: Request, data: Split | None) -> Steps:
        """Yield the state after each step of the source and each epoch; see `Method`."""
        random = torch.Generator().manual_seed(request.seed)
        examples = yield from self.collect(request, data, random)
        student = copy_teacher(request, self.batch_norm)
        optimizer = SGD(student.parameters(), self.learning_rate, momentum=0.9)
        class_loss = make_class_loss(student, examples, request.hardware)

        def loss_of(rows: Tensor) -> Tensor:
            return -class_loss(rows)

        def clip() -> None:
            nn.utils.clip_grad_norm_(student.parameters(), self.clip)

        rows = len(examples.images)
        yield from self.train("ascend", student, optimizer, loss_of, rows, request, random, clip)
