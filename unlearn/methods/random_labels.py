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

from unlearn.config.schema import CLOSED
from unlearn.protocol import Request
from unlearn.synthesis.sources import Examples
from unlearn.training.labelled import ForgetMethod
from unlearn.training.losses import relabel_randomly


@dataclass(config=CLOSED, kw_only=True)
class RandomLabels(ForgetMethod):
    """Train the teacher on the forget classes' images under random retain labels.

    Its settings are those of `ForgetMethod`.
    """

    stage: ClassVar[str] = "relabel"

    def choose_labels(
        self, examples: Examples, request: Request, random: torch.Generator
    ) -> Examples:
        """y': a random retain class for each image."""
        return relabel_randomly(examples, request, random)
