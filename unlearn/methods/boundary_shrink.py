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
from torch.optim import SGD

from unlearn.config.schema import CLOSED, Share
from unlearn.data.tensors import Split
from unlearn.models.outputs import compute_logits
from unlearn.protocol import Request, Steps
from unlearn.synthesis.sources import Examples, WantedClasses
from unlearn.training.labelled import EpochMethod
from unlearn.training.losses import make_class_loss
from unlearn.training.student import BatchNorm, copy_teacher


@dataclass(config=CLOSED, kw_only=True)
class BoundaryShrink(EpochMethod):
    """Train the teacher to answer each forget image with its nearest retain class.

    Args: those of `EpochMethod` (the optimiser is SGD with momentum 0.9), and
        bound: Length of the FGSM step in each pixel, as a share of the range from black to white,
            in [0, 1].
        batch_norm: Batch norm of the student: `train`, or `frozen` at the teacher's statistics.
    """

    wanted: ClassVar[WantedClasses] = "forget"
    bound: Share
    batch_norm: BatchNorm

    def unlearn(self, request: Request, data: Split | None) -> Steps:
        """Yield the state after each step of the source and each epoch; see `Method`."""
        random = torch.Generator().manual_seed(request.seed)
        examples = yield from self.collect(request, data, random)
        examples = Examples(examples.images, self.find_neighbours(request, examples))
        student = copy_teacher(request, self.batch_norm)
        optimizer = SGD(student.parameters(), self.learning_rate, momentum=0.9)
        loss_of = make_class_loss(student, examples, request.hardware)
        rows = len(examples.images)
        yield from self.train("shrink", student, optimizer, loss_of, rows, request, random)

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
