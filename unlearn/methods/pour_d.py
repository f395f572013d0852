"""POUR-D: teach the encoder the projected features of the forget classes' images.

    X = images of the forget classes
    P = I - w_f w_f^T / |w_f|^2, w_f the row of the last layer for the forget class f
    minimise the mean of (phi_S(X) - P phi_T(X))^2 over the layers of S before the last one, S
    starting from the teacher T

"POUR: A Provably Optimal Method for Unlearning Representations via Neural Collapse" (Le et al.,
CVPR 2026, arXiv 2511.19339). For several forget classes P projects onto the complement of the span
of their vectors. As in a port of its code, with Nesterov momentum, weight decay, a learning rate
that falls along a cosine, and batch norm at the teacher's statistics. On inverted images
(`method/source=inverted`) it needs no data.
"""

import math
from collections.abc import Callable
from typing import ClassVar

import torch
from pydantic import NonNegativeFloat
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.optim import Optimizer

from unlearn.config.schema import CLOSED
from unlearn.models.features import FeatureExtractor
from unlearn.models.network import readout
from unlearn.models.outputs import compute_logits
from unlearn.optimizers import SGD
from unlearn.protocol import Request
from unlearn.synthesis.sources import Examples
from unlearn.training.labelled import ForgetMethod
from unlearn.training.student import centre_rows, make_projection


@dataclass(config=CLOSED, kw_only=True)
class PourDistillation(ForgetMethod):
    """Train the teacher's encoder towards its own features without the forget classes.

    Args: those of `ForgetMethod`, and
        weight_decay: Weight decay, at least 0.
        centred: Whether the mean of the last layer's rows is subtracted first, so that their sum is
            0 as the paper assumes; see `pour_p`.
    """

    stage: ClassVar[str] = "pour_d"
    weight_decay: NonNegativeFloat
    centred: bool

    def copy_teacher(self, request: Request) -> nn.Module:
        """Return a copy of the teacher in train mode whose last layer is frozen."""
        student = super().copy_teacher(request)
        readout(student, request.num_classes).requires_grad_(False)
        if self.centred:
            centre_rows(student, request.num_classes)
        return student

    def make_loss(
        self, student: nn.Module, examples: Examples, request: Request, random: torch.Generator
    ) -> Callable[[Tensor], Tensor]:
        """Mean squared difference of the student's and the projected features."""
        images, hardware = examples.images, request.hardware
        teacher = FeatureExtractor(request.teacher, request.num_classes)
        projection = make_projection(student, request.forget, request.num_classes)
        features = compute_logits(teacher, images, hardware, self.batch_size)
        target = (features.double() @ projection).float()
        encoder = FeatureExtractor(student, request.num_classes)

        def loss_of(rows: Tensor) -> Tensor:
            return (hardware.run(encoder, images[rows]) - target[rows]).square().mean()

        return loss_of

    def make_optimizer(self, student: nn.Module) -> Optimizer:
        """SGD with Nesterov momentum and weight decay on all layers but the last."""
        weights = [weight for weight in student.parameters() if weight.requires_grad]
        rate, decay = self.learning_rate, self.weight_decay
        return SGD(weights, rate, momentum=0.9, nesterov=True, weight_decay=decay)

    def prepare(self, optimizer: Optimizer, epoch: int) -> None:
        """Lower the learning rate along a cosine."""
        share = (1 + math.cos(math.pi * (epoch - 1) / self.epochs)) / 2
        optimizer.param_groups[0]["lr"] = share * self.learning_rate
