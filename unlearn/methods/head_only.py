"""The degenerate baseline that changes the last layer alone: masked distillation of the head.

    X = images of each class, by gradient ascent on the teacher's log-probability of it
    p = softmax of the teacher's retain logits on X, 0 at the forget classes
    minimise KL(p || head(features(X))) over the head; the features stay the teacher's

"An Illusion of Unlearning?" (AISTATS 2026, arXiv 2604.08271) finds that adjusting the classifier
is enough for a D_f of nearly 0; so a low D_f says nothing of the features.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor

from unlearn.data.tensors import Access, Split
from unlearn.models.network import readout
from unlearn.models.outputs import compute_logits
from unlearn.protocol import Request, Samples, State, Steps
from unlearn.synthesis.inversion import DeepInversion, invert_states
from unlearn.training.loops import distil
from unlearn.training.losses import target_probabilities
from unlearn.training.student import taught_student


@dataclass(frozen=True, kw_only=True)
class HeadOnly:
    """The teacher with a last linear layer taught its masked answers on inverted images.

    Args:
        images: inverted for each class.
        inversion_steps: of Adam, and the other keys of `DeepInversion`, whose batch-norm term is
            left out, so that any network will do.
        inversion_learning_rate: at the peak.
        tv_weight: of the total variation.
        epochs: of the head, over all images.
        batch_size: of the head.
        learning_rate: of the head (Adam, cosine).
    """

    images: int
    inversion_steps: int
    inversion_learning_rate: float
    tv_weight: float
    epochs: int
    batch_size: int
    learning_rate: float

    @property
    def access(self) -> Access:
        """No data."""
        return "none"

    def unlearn(self, request: Request, data: Split | None) -> Steps:
        """Yield the state after each inversion step and each epoch; see `Method`.

        Raises:
            RunError: if the network has no linear layer with one row a class.
        """
        random = torch.Generator().manual_seed(request.seed)
        student = taught_student(request).eval()
        head = readout(student, request.num_classes)
        images = yield from self._invert(request, random)
        logits = compute_logits(request.teacher, images, request.hardware, self.batch_size)
        weights = request.filter(logits, request.forget_mask)
        samples = Samples.first(images, weights, logits)
        for epoch, loss in distil(
            head,
            self._features(request, images),
            target_probabilities(logits, request.forget_mask, "masked"),
            weights,
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            temperature=1.0,
            hardware=request.hardware,
            random=random,
            progress=request.progress,
        ):
            shown = samples if epoch == self.epochs else None
            yield State("distil", epoch, self.epochs, student, {"loss": loss}, shown)

    def _invert(self, request: Request, random: torch.Generator) -> Generator[State, None, Tensor]:
        """Yield the state of each inversion step; return all images (N, C, H, W)."""
        classes = torch.arange(request.num_classes).repeat(self.images)
        inversion = DeepInversion(
            steps=self.inversion_steps,
            learning_rate=self.inversion_learning_rate,
            warmup=0,
            batch_norm_weight=0.0,
            first_layer_factor=1.0,
            tv_weight=self.tv_weight,
            l2_weight=0.0,
            jitter=0,
            flip=False,
        )
        inverting = inversion.invert(request, classes.to(request.hardware.device), random)
        return (yield from invert_states(inverting, 0, self.inversion_steps))

    def _features(self, request: Request, images: Tensor) -> Tensor:
        """What the teacher's last linear layer takes in (N, D), on images (N, C, H, W)."""
        taken: list[Tensor] = []
        head = readout(request.teacher, request.num_classes)
        hook = head.register_forward_pre_hook(lambda _, inputs: taken.append(inputs[0].float()))
        compute_logits(request.teacher, images, request.hardware, self.batch_size)
        hook.remove()
        return torch.cat(taken)
