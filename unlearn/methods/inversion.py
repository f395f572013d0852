"""Inversion: DeepInversion images from the teacher's own statistics, then a student on them.

    X, Y = DeepInversion images of each class, in batches ("Dreaming to Distill", CVPR 2020)
    p = target(T(X)), w = filter(T(X)), 0 where T does not answer X with Y
    minimise KL(p || S(X)) over S, rows weighted by w

The student S starts between the teacher T and random weights.
"""

from collections.abc import Generator
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from unlearn.config.schema import CLOSED, Share
from unlearn.data.tensors import Access, Split
from unlearn.errors import ConfigError
from unlearn.filters.compose import pass_rates
from unlearn.models.network import has_batch_norm
from unlearn.models.outputs import compute_logits
from unlearn.protocol import Request, Samples, State, Steps
from unlearn.synthesis.inversion import DeepInversion, describe_answers, is_recognised
from unlearn.training.loops import distil
from unlearn.training.losses import Target, target_probabilities
from unlearn.training.student import BatchNorm, start_student


@dataclass(config=CLOSED, kw_only=True)
class Inversion:
    """Train a student on DeepInversion images.

    Args:
        images: Images synthesised for each class, at least 1.
        inverted: Classes to synthesise: `all`, or `retain` alone.
        inversion_batch: Images optimised together, at least 1; the classes are balanced.
        inversion_steps: Steps of Adam on each batch, at least 1.
        inversion_learning_rate: Learning rate at the end of the warm-up, above 0.
        warmup: Steps of the warm-up, at least 0.
        batch_norm_weight: Weight of the distance to the teacher's batch-norm statistics, at least
            0; it must be 0 for a network without batch norm.
        first_layer_factor: Factor of the first layer in that distance, at least 0.
        tv_weight: Weight of the total variation, at least 0.
        l2_weight: Weight of the mean l2 norm of an image, at least 0.
        jitter: Largest shift of the images in a step, pixels, at least 0.
        flip: Whether half of the steps see the batch mirrored.
        kept: Images to train on: `answered`: those that the teacher answers with the class they
            were made for, or `all`.
        labels: `soft`: the target probabilities; `hard`: their argmax.
        target: `raw`, `masked` or `postfilter` (`target_probabilities`).
        postfilter_threshold: Forget probability above which `postfilter` acts, in [0, 1].
        temperature: Temperature of both softmaxes, above 0.
        start: Share of the teacher in the student's starting weights, from 0 (random) to 1.
        fresh_readout: Whether the forget classes' rows of the last layer start fresh.
        batch_norm: Batch norm of the student: `train`, or `frozen` at the statistics that it
            starts with.
        epochs: Passes over all images, at least 1.
        batch_size: Images of a step of the student, at least 1.
        learning_rate: Learning rate of the student (Adam, cosine to zero), above 0.
    """

    access: ClassVar[Access] = "none"
    images: PositiveInt
    inverted: Literal["all", "retain"]
    inversion_batch: PositiveInt
    inversion_steps: PositiveInt
    inversion_learning_rate: PositiveFloat
    warmup: NonNegativeInt
    batch_norm_weight: NonNegativeFloat
    first_layer_factor: NonNegativeFloat
    tv_weight: NonNegativeFloat
    l2_weight: NonNegativeFloat
    jitter: NonNegativeInt
    flip: bool
    kept: Literal["answered", "all"]
    labels: Literal["soft", "hard"]
    target: Target
    postfilter_threshold: Share
    temperature: PositiveFloat
    start: Share
    fresh_readout: bool
    batch_norm: BatchNorm
    epochs: PositiveInt
    batch_size: PositiveInt
    learning_rate: PositiveFloat

    def check_network(self, network: nn.Module) -> None:
        """Raise `ConfigError` if batch norm is to be matched and the network has none."""
        if self.batch_norm_weight and not has_batch_norm(network):
            raise ConfigError(
                "method.batch_norm_weight",
                self.batch_norm_weight,
                "the network has no batch norm whose statistics could be matched; choose a model "
                "that has, or set 0 to invert on the class loss alone",
            )

    def unlearn(self, request: Request, data: Split | None) -> Steps:
        """Yield the state after each inversion step and each epoch; see `Method`."""
        random, forget = torch.Generator().manual_seed(request.seed), request.forget_mask
        student = start_student(
            request,
            share=self.start,
            fresh_readout=self.fresh_readout,
            frozen=self.batch_norm == "frozen",
        )
        classes = range(request.num_classes) if self.inverted == "all" else request.retain
        labels = torch.tensor(list(classes)).repeat(self.images).to(request.hardware.device)
        images = yield from self._synthesise(request, labels, random)
        logits = compute_logits(request.teacher, images, request.hardware, self.batch_size)
        everything = torch.ones_like(labels, dtype=torch.bool)
        kept = is_recognised(logits, labels) if self.kept == "answered" else everything
        for step in request.progress.steps("check", 1, dict):
            answers = describe_answers(logits, labels) | {"dropped": (~kept).sum()}
            yield State("check", step, 1, None, answers)
        weights = request.filter(logits, forget) * kept
        rates = pass_rates(request.filter, logits, forget)
        samples = Samples.first(images, weights, logits)
        for epoch, loss in distil(
            student,
            images,
            self.make_targets(logits, forget),
            weights,
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            request=request,
            random=random,
            temperature=self.temperature,
        ):
            shown = samples if epoch == self.epochs else None
            yield State("distil", epoch, self.epochs, student, {"loss": loss, **rates}, shown)

    def _synthesise(
        self, request: Request, labels: Tensor, random: torch.Generator
    ) -> Generator[State, object, Tensor]:
        """Yield the state after each inversion step; return all images (N, C, H, W)."""
        inversion = DeepInversion(
            steps=self.inversion_steps,
            learning_rate=self.inversion_learning_rate,
            warmup=self.warmup,
            batch_norm_weight=self.batch_norm_weight,
            first_layer_factor=self.first_layer_factor,
            tv_weight=self.tv_weight,
            l2_weight=self.l2_weight,
            jitter=self.jitter,
            flip=self.flip,
        )
        batches = labels.split(self.inversion_batch)
        total = len(batches) * self.inversion_steps
        finished: list[Tensor] = []
        parts = {"finished": finished, "random": random}
        for batch in request.progress.steps("batch", len(batches), lambda: parts):
            before = (batch - 1) * self.inversion_steps
            images = yield from inversion.invert(request, batches[batch - 1], random, before, total)
            finished.append(images)
        return torch.cat(finished)

    def make_targets(self, logits: Tensor, forget: Tensor) -> Tensor:
        """Probabilities (N, K) that the student is taught, from the teacher's logits (N, K)."""
        targets = target_probabilities(
            logits, forget, self.target, self.temperature, self.postfilter_threshold
        )
        if self.labels == "hard":
            return F.one_hot(targets.argmax(1), logits.shape[1]).to(targets.dtype)
        return targets
