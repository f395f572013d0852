"""JiT: make the answers around the forget classes' images constant.

    X = images of the forget classes
    for each batch x of X
        x_i = x + sigma * N(0, I), i = 1 ... N
        minimise the mean over i of the sum over the batch of ||S(x) - S(x_i)|| / ||x - x_i||,
        S(x_i) without gradient, starting from the teacher

"Zero-Shot Machine Unlearning at Scale via Lipschitz Regularization" (Foster et al., arXiv
2402.01401) and its code: one pass and plain SGD. The loss is a sum, so that the right learning rate
depends on the batch size. Where S is linear around x, the gradient through S(x) alone is 0 on
average: it moves S(x) by the curvature there, and the loss need not fall while the class is
forgotten. The code clamps x_i to the batch's range and divides by what is left of the noise; here
x_i may leave the range.
"""

from collections.abc import Callable
from functools import partial
from typing import ClassVar

import torch
from pydantic import PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from unlearn.config.schema import CLOSED
from unlearn.optimizers import SGD
from unlearn.protocol import Request
from unlearn.synthesis.sources import Examples
from unlearn.training.labelled import ForgetMethod


@dataclass(config=CLOSED, kw_only=True)
class JustInTime(ForgetMethod):
    """Make the teacher locally constant around the forget classes' images.

    Args: those of `ForgetMethod` (the optimiser is plain SGD), and
        copies: Noisy copies of each image (N in the paper), at least 1.
        sigma: Standard deviation of the noise, where an image has unit variance; above 0.
    """

    stage: ClassVar[str] = "smooth"
    copies: PositiveInt
    sigma: PositiveFloat

    def make_optimizer(self, student: nn.Module) -> SGD:
        """Plain SGD, as in the published code."""
        return SGD(student.parameters(), self.learning_rate)

    def make_loss(
        self, student: nn.Module, examples: Examples, request: Request, random: torch.Generator
    ) -> Callable[[Tensor], Tensor]:
        """The roughness of the student around the images, under fresh noise in each step."""
        answer = partial(request.hardware.run, student)

        def loss_of(rows: Tensor) -> Tensor:
            batch = examples.images[rows]
            shape = (self.copies, *batch.shape)
            noise = self.sigma * torch.randn(shape, generator=random).to(batch.device)
            return roughness(answer, batch, noise)

        return loss_of


def roughness(student: Callable[[Tensor], Tensor], images: Tensor, noise: Tensor) -> Tensor:
    """Estimate of the Lipschitz constants around images, summed over the images: a scalar.

    Args:
        student: Maps images to logits. Its answers to the noisy images get no gradient.
        images: (B, C, H, W).
        noise: (N, B, C, H, W), none of it all zero.
    """
    logits = student(images)
    with torch.no_grad():
        shaken = torch.stack([student(images + one) for one in noise])
    slopes: Tensor = (logits - shaken).norm(dim=2) / noise.flatten(2).norm(dim=2)
    return slopes.mean(dim=0).sum()
