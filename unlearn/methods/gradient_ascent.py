"""Gradient ascent: training on the forget classes' images, backwards.

    X, y = images of the forget classes and their labels
    maximise CE(S(X), y) over S, starting from the teacher T, with clipped gradients

The plainest baseline: "NegGrad" of "Eternal Sunshine of the Spotless Net" (Golatkar et al., CVPR
2020). The loss has no upper bound: only few and clipped steps keep the rest of the network intact.
"""

from collections.abc import Callable
from typing import ClassVar

import torch
from pydantic import PositiveFloat
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from unlearn.config.schema import CLOSED
from unlearn.protocol import Request
from unlearn.synthesis.sources import Examples
from unlearn.training.labelled import ForgetMethod
from unlearn.training.losses import make_class_loss


@dataclass(config=CLOSED, kw_only=True)
class GradientAscent(ForgetMethod):
    """Raise the teacher's loss on the forget classes' images.

    Args: those of `ForgetMethod`, and
        clip: Largest norm of a gradient, above 0.
    """

    stage: ClassVar[str] = "ascend"
    clip: PositiveFloat

    def make_loss(
        self, student: nn.Module, examples: Examples, request: Request, random: torch.Generator
    ) -> Callable[[Tensor], Tensor]:
        """-CE(S(X), y)."""
        class_loss = make_class_loss(student, examples, request.hardware)
        return lambda rows: -class_loss(rows)

    def adjust(self, student: nn.Module) -> None:
        """Clip the gradients."""
        nn.utils.clip_grad_norm_(student.parameters(), self.clip)
