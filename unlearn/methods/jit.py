"""JiT: the answers on the forgotten class's images smoothed until they say nothing.

    X = images of the forget classes
    for each batch x of X
        x_i = x + sigma * N(0, I), i = 1 ... N
        minimise mean over i, sum over the batch, of ||S(x) - S(x_i)|| / ||x - x_i||,
        S(x_i) without gradient, the student from the teacher

"Zero-Shot Machine Unlearning at Scale via Lipschitz Regularization" (arXiv 2402.01401), and its
code: one pass, plain SGD, and a sum, so that the right rate depends on the size of a batch. Where S
is linear around x, the gradient through S(x) alone is 0 on average: it drives S(x) by the curvature
there, and the loss need not fall while the class is forgotten. The code clamps x_i to the batch's
range and divides by what is left of the noise; here x_i may leave it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor
from torch.optim import SGD

from unlearn.data.tensors import Access, Split
from unlearn.protocol import Request, Steps
from unlearn.synthesis.sources import Source
from unlearn.training.loops import run_epochs
from unlearn.training.student import taught_student


@dataclass(frozen=True, kw_only=True)
class JustInTime:
    """The teacher made locally constant around the forget classes' images.

    Args:
        source: of the images.
        copies: noisy ones of each image, N.
        sigma: of the noise, where an image has unit variance.
        epochs: over the images.
        batch_size: of a step.
        learning_rate: of plain SGD.
        batch_norm: the student's: `train`, or `frozen` at the teacher's statistics.
    """

    source: Source
    copies: int
    sigma: float
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
        images, _ = yield from self.source.examples(request, data, "forget", random)
        student = taught_student(request, frozen=self.batch_norm == "frozen")

        def loss_of(rows: Tensor) -> Tensor:
            batch = images[rows]
            shape = (self.copies, *batch.shape)
            noise = self.sigma * torch.randn(shape, generator=random).to(batch.device)
            return roughness(partial(request.hardware.run, student), batch, noise)

        yield from run_epochs(
            "smooth",
            student,
            SGD(student.parameters(), self.learning_rate),
            loss_of,
            rows=len(images),
            batch_size=self.batch_size,
            epochs=self.epochs,
            request=request,
            random=random,
        )


def roughness(student: Callable[[Tensor], Tensor], images: Tensor, noise: Tensor) -> Tensor:
    """Estimate of the Lipschitz constants around images, summed over them: a scalar.

    Args:
        student: maps images to logits; its answers to the noisy images get no gradient.
        images: (B, C, H, W).
        noise: (N, B, C, H, W), none of it all zero.
    """
    logits = student(images)
    with torch.no_grad():
        shaken = torch.stack([student(images + one) for one in noise])
    slopes: Tensor = (logits - shaken).norm(dim=2) / noise.flatten(2).norm(dim=2)
    return slopes.mean(dim=0).sum()
