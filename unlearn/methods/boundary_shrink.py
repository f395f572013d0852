"""Boundary Shrink: give the forget classes' images to the nearest retain class.

    X, y = images of the forget classes and their labels
    X' = X + bound * sign(gradient of CE(T(X), y) by X), between black and white       (FGSM)
    y' = the retain class that T finds likeliest on X'
    minimise CE(S(X), y') over S, starting from the teacher T

"Boundary Unlearning" (Chen et al., CVPR 2023) and its code: one FGSM step on the original network,
SGD with momentum, batch norm in train mode. In the paper y' is the likeliest of all classes. That
is the image's own class where the step is too short, and may be another forget class.
"""

from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor

from unlearn.config.schema import CLOSED, Share
from unlearn.models.outputs import compute_logits
from unlearn.protocol import Request
from unlearn.synthesis.sources import Examples
from unlearn.training.labelled import ForgetMethod


@dataclass(config=CLOSED, kw_only=True)
class BoundaryShrink(ForgetMethod):
    """Train the teacher to answer each forget image with its nearest retain class.

    Args: those of `ForgetMethod`, and
        bound: Length of the FGSM step in each pixel, as a share of the range from black to white,
            in [0, 1].
    """

    stage: ClassVar[str] = "shrink"
    bound: Share

    def choose_labels(
        self, examples: Examples, request: Request, random: torch.Generator
    ) -> Examples:
        """y': the nearest retain class of each image."""
        return Examples(examples.images, self.find_neighbours(request, examples))

    def find_neighbours(self, request: Request, examples: Examples) -> Tensor:
        """The retain class across the nearest boundary of each image, (N,)."""
        images, labels = (values.split(self.batch_size) for values in examples)
        batches = zip(images, labels, strict=True)
        attacked = torch.cat([step_across(request, x, y, self.bound) for x, y in batches])
        logits = compute_logits(request.teacher, attacked, request.hardware, self.batch_size)
        return logits.masked_fill(request.forget_mask, -torch.inf).argmax(dim=1)


def step_across(request: Request, images: Tensor, labels: Tensor, bound: float) -> Tensor:
    """Move images (B, C, H, W) by one FGSM step away from their classes.

    Args:
        request: The teacher, and the normalised values of black and white.
        images: (B, C, H, W), normalised.
        labels: Classes of the images, (B,).
        bound: Length of the step, as a share of the range from black to white of each channel.
    """
    start = images.clone().requires_grad_()
    logits = request.hardware.run(request.teacher, start)
    (gradient,) = torch.autograd.grad(F.cross_entropy(logits, labels, reduction="sum"), start)
    step = bound * (request.highest - request.lowest)
    return (images + step * gradient.sign()).clamp(request.lowest, request.highest)
