"""Boundary Shrink: the forgotten class's space given to the neighbours across its boundary.

    X, y = images of the forget classes and their classes
    X' = X + bound * sign(gradient of CE(T(X), y) by X), between black and white       (FGSM)
    y' = the retain class that T finds likeliest on X'
    minimise CE(S(X), y'), the student from the teacher

"Boundary Unlearning" (CVPR 2023) and its code: one FGSM step on the original network, SGD with
momentum, batch norm in train mode. There y' is the likeliest of all classes, which is the image's
own where the step is too short, and may be another forgotten one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import SGD

from unlearn.data.tensors import Access, Split
from unlearn.models.outputs import compute_logits
from unlearn.protocol import Request, Steps
from unlearn.synthesis.sources import Examples, Source
from unlearn.training.loops import run_epochs
from unlearn.training.losses import class_loss
from unlearn.training.student import taught_student


@dataclass(frozen=True, kw_only=True)
class BoundaryShrink:
    """The teacher trained to see its nearest retain class in each image of the forget classes.

    Args:
        source: of the images.
        bound: of FGSM's step, in [0, 1] of the way from black to white.
        epochs: over the images.
        batch_size: of a step.
        learning_rate: of SGD with momentum 0.9.
        batch_norm: the student's: `train`, or `frozen` at the teacher's statistics.
    """

    source: Source
    bound: float
    epochs: int
    batch_size: int
    learning_rate: float
    batch_norm: Literal["train", "frozen"]

    @property
    def access(self) -> Access:
        """The forget classes' images, or none where the source makes them."""
        return self.source.access("forget")

    def unlearn(self, request: Request, data: Split | None) -> Steps:
        """Yield the state after each step of the source and each epoch; see `Method`."""
        random = torch.Generator().manual_seed(request.seed)
        examples = yield from self.source.examples(request, data, "forget", random)
        moved = Examples(examples.images, self.neighbours(request, examples))
        student = taught_student(request, frozen=self.batch_norm == "frozen")
        optimizer = SGD(student.parameters(), self.learning_rate, momentum=0.9)
        yield from run_epochs(
            "shrink",
            student,
            optimizer,
            class_loss(student, moved, request.hardware),
            rows=len(moved.images),
            batch_size=self.batch_size,
            epochs=self.epochs,
            request=request,
            random=random,
        )

    def neighbours(self, request: Request, examples: Examples) -> Tensor:
        """The retain class across the nearest boundary of each image, (N,)."""
        images, labels = (values.split(self.batch_size) for values in examples)
        batches = zip(images, labels, strict=True)
        attacked = torch.cat([across(request, x, y, self.bound) for x, y in batches])
        logits = compute_logits(request.teacher, attacked, request.hardware, self.batch_size)
        return logits.masked_fill(request.forget_mask, -torch.inf).argmax(dim=1)


def across(request: Request, images: Tensor, labels: Tensor, bound: float) -> Tensor:
    """Images (B, C, H, W) after one FGSM step away from their classes.

    Args:
        request: the teacher, and the normalised values of black and white.
        images: normalised.
        labels: their classes, (B,).
        bound: of the step, as a share of the range from black to white of each channel.
    """
    start = images.clone().requires_grad_()
    logits = request.hardware.run(request.teacher, start)
    (gradient,) = torch.autograd.grad(F.cross_entropy(logits, labels, reduction="sum"), start)
    step = bound * (request.highest - request.lowest)
    return (images + step * gradient.sign()).clamp(request.lowest, request.highest)
