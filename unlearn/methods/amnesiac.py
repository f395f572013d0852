"""Amnesiac unlearning: relearn the forget classes' images under random other labels.

    X, Y = images and labels of all classes
    Y' = Y; at the forget classes a random retain class, drawn once for each image
    minimise CE(S(X), Y') over S, starting from the teacher T

"Amnesiac Machine Learning" (Graves et al., AAAI 2021). The paper has two parts: the removal of
recorded updates, and this "unlearning"; with Adam, as in its code. The paper draws any other class.
Here a retain class is drawn, so that no forget class is taught under another's name. On inverted
images (`method/source=inverted`) it needs no data.
"""

from typing import ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch.optim import Adam

from unlearn.config.schema import CLOSED
from unlearn.data.tensors import Split
from unlearn.protocol import Request, Steps
from unlearn.synthesis.sources import WantedClasses
from unlearn.training.labelled import EpochMethod
from unlearn.training.losses import make_class_loss, relabel_randomly
from unlearn.training.student import copy_teacher


@dataclass(config=CLOSED, kw_only=True)
class Amnesiac(EpochMethod):
    """Train the teacher on, with the forget classes' images under random retain classes.

    Its settings are those of `EpochMethod`; the optimiser is Adam.
    """

    wanted: ClassVar[WantedClasses] = "all"

    def unlearn(self, request: Request, data: Split | None) -> Steps:
        """Yield the state after each step of the source and each epoch; see `Method`."""
        random = torch.Generator().manual_seed(request.seed)
        examples = yield from self.collect(request, data, random)
        examples = relabel_randomly(examples, request, random)
        student = copy_teacher(request)
        optimizer = Adam(student.parameters(), self.learning_rate)
        loss_of = make_class_loss(student, examples, request.hardware)
        rows = len(examples.labels)
        yield from self.train("amnesiac", student, optimizer, loss_of, rows, request, random)
