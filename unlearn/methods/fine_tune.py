"""Fine-tuning: train on without the forget classes, and count on catastrophic forgetting.

    X, Y = images and labels of the retain classes
    minimise CE(S(X), Y) over S, starting from the teacher T

The baseline "Fine-tune" of "Eternal Sunshine of the Spotless Net" (Golatkar et al., CVPR 2020). On
inverted images (`method/source=inverted`) it needs no data.
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
from unlearn.training.losses import make_class_loss
from unlearn.training.student import copy_teacher


@dataclass(config=CLOSED, kw_only=True)
class FineTune(EpochMethod):
    """Train the teacher on with the retain classes alone.

    Its settings are those of `EpochMethod`; the optimiser is SGD with momentum 0.9.
    """

    wanted: ClassVar[WantedClasses] = "retain"

    def unlearn(self, request: Request, data: Split | None) -> Steps:
        """Yield the state after each step of the source and each epoch; see `Method`."""
        random = torch.Generator().manual_seed(request.seed)
        examples = yield from self.collect(request, data, random)
        student = copy_teacher(request)
        optimizer = SGD(student.parameters(), self.learning_rate, momentum=0.9)
        loss_of = make_class_loss(student, examples, request.hardware)
        rows = len(examples.labels)
        yield from self.train("fine_tune", student, optimizer, loss_of, rows, request, random)
