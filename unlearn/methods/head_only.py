"""The degenerate baseline that changes the last layer alone: masked distillation of the head.

    X = images of each class, by gradient ascent on the teacher's log-probability of it
    p = softmax of T's logits on X, the forget classes masked
    minimise KL(p || head(features(X))) over the head; the features stay the teacher's

"An Illusion of Unlearning?" (AISTATS 2026, arXiv 2604.08271) finds that changing the classifier is
enough for a D_f of nearly 0. So a low D_f says nothing of the features.
"""

from typing import ClassVar

import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from unlearn.config.schema import CLOSED
from unlearn.data.tensors import Access, Split
from unlearn.models.features import FeatureExtractor
from unlearn.models.network import readout
from unlearn.models.outputs import compute_logits
from unlearn.protocol import Request, Samples, State, Steps
from unlearn.synthesis.inversion import DeepInversion
from unlearn.training.loops import distil
from unlearn.training.losses import target_probabilities
from unlearn.training.student import copy_teacher


@dataclass(config=CLOSED, kw_only=True)
class HeadOnly:
    """Teach the teacher's last linear layer its masked answers on inverted images.

    Args:
        images: Images inverted for each class, at least 1. The inversion has no batch-norm term,
            so that every network will do.
        inversion_steps: Steps of Adam on the images, at least 1.
        inversion_learning_rate: Largest learning rate of the inversion, above 0.
        tv_weight: Weight of the images' total variation, at least 0.
        epochs: Passes over all images, at least 1.
        batch_size: Images of a step, at least 1.
        learning_rate: Learning rate of the head (Adam, cosine to zero), above 0.
    """

    access: ClassVar[Access] = "none"
    images: PositiveInt
    inversion_steps: PositiveInt
    inversion_learning_rate: PositiveFloat
    tv_weight: NonNegativeFloat
    epochs: PositiveInt
    batch_size: PositiveInt
    learning_rate: PositiveFloat

    def unlearn(self, request: Request, data: Split | None) -> Steps:
        """Yield the state after each inversion step and each epoch; see `Method`.

        Raises:
            RunError: If the network has no linear layer with one row a class.
        """
        random = torch.Generator().manual_seed(request.seed)
        student = copy_teacher(request).eval()
        head = readout(student, request.num_classes)
        labels = torch.arange(request.num_classes).repeat(self.images).to(request.hardware.device)
        inversion = DeepInversion(
            steps=self.inversion_steps,
            learning_rate=self.inversion_learning_rate,
            tv_weight=self.tv_weight,
        )
        images = yield from inversion.invert(request, labels, random)
        logits = compute_logits(request.teacher, images, request.hardware, self.batch_size)
        weights = request.filter(logits, request.forget_mask)
        samples = Samples.first(images, weights, logits)
        extractor = FeatureExtractor(request.teacher, request.num_classes)
        features = compute_logits(extractor, images, request.hardware, self.batch_size)
        for epoch, loss in distil(
            head,
            features,
            target_probabilities(logits, request.forget_mask, "masked"),
            weights,
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            request=request,
            random=random,
        ):
            shown = samples if epoch == self.epochs else None
            yield State("distil", epoch, self.epochs, student, {"loss": loss}, shown)
