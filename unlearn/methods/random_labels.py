"""Random labels: relearn the forget classes' images as random retain classes.

    X = images of the forget classes
    y' = for each image a retain class, drawn once and evenly
    minimise CE(S(X), y') over S, starting from the teacher T

"Random-label fine-tuning" of "Eternal Sunshine of the Spotless Net" (Golatkar et al., CVPR 2020),
and the half of "Amnesiac Machine Learning" (AAAI 2021) that needs no retain data.
"""

from typing import ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch.optim import SGD

from unlearn.config.schema import CLOSED
from unlearn.data.tensors import Split
from unlearn.protocol import Request, Steps
from unlearn.synthesis.sources import WantedClasses
from unlearn.training.labelled import EpochMethod
from unlearn.training.losses import make_class_loss, relabel_randomly
from unlearn.training.student import BatchNorm, copy_teacher


@dataclass(config=CLOSED, kw_only=True)
class RandomLabels(EpochMethod):
    """Train the teacher on the forget classes' images under random retain labels.

    Args: those of `EpochMethod` (the optimiser is SGD with momentum 0.9), and
        batch_norm: Batch norm of the student: `train`, or `frozen` at the teacher's statistics.
    """

    wanted: ClassVar[WantedClasses] = "forget"
    batch_norm: BatchNorm

    def unlearn(self, request: Request, data: Split | None) -> Steps:
        """Yield the state after each step of the source and each epoch; see `Method`."""
        random = torch.Generator().manual_seed(request.seed)
        examples = yield from self.collect(request, data, random)
        examples = relabel_randomly(examples, request, random)
        student = copy_teacher(request, self.batch_norm)
        optimizer = SGD(student.parameters(), self.learning_rate, momentum=0.9)
        loss_of = make_class_loss(student, examples, request.hardware)
        rows = len(examples.images)
        yield from self.train("relabel", student, optimizer, loss_of, rows, request, random)
