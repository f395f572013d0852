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
from torch import nn

from unlearn.config.schema import CLOSED
from unlearn.optimizers import Adam
from unlearn.protocol import Request
from unlearn.synthesis.sources import Examples, WantedClasses
from unlearn.training.labelled import EpochMethod
from unlearn.training.losses import relabel_randomly


@dataclass(config=CLOSED, kw_only=True)
class Amnesiac(EpochMethod):
    """Train the teacher on, with the forget classes' images under random retain classes.

    Its settings are those of `EpochMethod`; the optimiser is Adam.
    """

    wanted: ClassVar[WantedClasses] = "all"
    stage: ClassVar[str] = "amnesiac"

    def choose_labels(
        self, examples: Examples, request: Request, random: torch.Generator
    ) -> Examples:
        """Y': the images with random retain classes in place of forget classes."""
        return relabel_randomly(examples, request, random)

    def make_optimizer(self, student: nn.Module) -> Adam:
        """Adam, as in the published code."""
        return Adam(student.parameters(), self.learning_rate)
