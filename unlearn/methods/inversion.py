"""Inversion: DeepInversion images from the teacher's own statistics, then a student on them.

X, Y = DeepInversion images of each class, by batches ("Dreaming to Distill", CVPR 2020)
p = target(T(X)), w = filter(T(X)), 0 where T does not answer X with Y
minimise KL(p || S(X)), rows weighed by w, from a student between teacher and random
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlearn.data.tensors import Access, Split
from unlearn.errors import ConfigError
from unlearn.filters.compose import pass_rates
from unlearn.models.network import has_batch_norm
from unlearn.models.outputs import compute_logits
from unlearn.protocol import Request, Samples, State, Steps
from unlearn.synthesis.inversion import DeepInversion, invert_states
from unlearn.synthesis.verdict import answered, verdict
from unlearn.training.loops import distil
from unlearn.training.losses import Target, target_probabilities
from unlearn.training.student import start_student


@dataclass(frozen=True, kw_only=True)
class Inversion:
    """DeepInversion images, then a student trained on them.

    Args:
        images: synthesised for each class.
        inverted: classes to synthesise: `all`, or `retain` alone.
        inversion_batch: images optimised together, classes balanced.
        inversion_steps: and the other keys of `DeepInversion`.
        kept: `answered`: images that the teacher answers with the class they were made for, or
            `all`.
        labels: `soft`: the teacher's target probabilities; `hard`: their argmax.
        target: raw, masked or postfilter (`target_probabilities`).
        postfilter_threshold: forget mass above which `postfilter` acts.
        temperature: of both softmaxes.
        start: the teacher's share in the student's starting weights, 0 random, 1 the teacher.
        fresh_readout: whether the forget classes' rows of the last layer start fresh.
        batch_norm: the student's: `train`, or `frozen` at the statistics it starts with.
        epochs: of the student, over all images.
        batch_size: of the student.
        learning_rate: of the student (Adam, cosine).
        as_published: for the record; the config has then laid the published settings over these.
    """

    images: int
    inverted: Literal["all", "retain"]
    inversion_batch: int
    inversion_steps: int
    inversion_learning_rate: float
    warmup: int
    batch_norm_weight: float
    first_layer_factor: float
    tv_weight: float
    l2_weight: float
    jitter: int
    flip: bool
    kept: Literal["answered", "all"]
    labels: Literal["soft", "hard"]
    target: Target
    postfilter_threshold: float
    temperature: float
    start: float
    fresh_readout: bool
    batch_norm: Literal["train", "frozen"]
    epochs: int
    batch_size: int
    learning_rate: float
    as_published: bool = False

    @property
    def access(self) -> Access:
        """No data."""
        return "none"

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
        random = torch.Generator().manual_seed(request.seed)
        student = start_student(
            request,
            share=self.start,
            fresh_readout=self.fresh_readout,
            frozen=self.batch_norm == "frozen",
        )
        wanted = self._wanted(request)
        images = yield from self._synthesise(request, wanted, random)
        logits = compute_logits(request.teacher, images, request.hardware, self.batch_size)
        for step in request.progress.steps("check", 1, dict):
            yield State("check", step, 1, None, self._verdict(logits, wanted))
        weights = request.filter(logits, request.forget_mask) * self._kept(logits, wanted)
        rates = pass_rates(request.filter, logits, request.forget_mask)
        samples = Samples.first(images, weights, logits)
        for epoch, loss in distil(
            student,
            images,
            self._targets(logits, request.forget_mask),
            weights,
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            temperature=self.temperature,
            hardware=request.hardware,
            random=random,
            progress=request.progress,
        ):
            shown = samples if epoch == self.epochs else None
            yield State("distil", epoch, self.epochs, student, {"loss": loss, **rates}, shown)

    def _synthesise(
        self, request: Request, wanted: Tensor, random: torch.Generator
    ) -> Generator[State, None, Tensor]:
        """Yield the state of each inversion step; return all images (N, C, H, W)."""
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
        batches = wanted.split(self.inversion_batch)
        total = len(batches) * self.inversion_steps
        finished: list[Tensor] = []
        parts = {"finished": finished, "random": random}
        for batch in request.progress.steps("batch", len(batches), lambda: parts):
            inverting = inversion.invert(request, batches[batch - 1], random)
            before = (batch - 1) * self.inversion_steps
            finished.append((yield from invert_states(inverting, before, total)))
        return torch.cat(finished)

    def _wanted(self, request: Request) -> Tensor:
        """The class of each image, (N,), classes taking turns."""
        classes = range(request.num_classes) if self.inverted == "all" else request.retain
        return torch.tensor(list(classes)).repeat(self.images).to(request.hardware.device)

    def _kept(self, logits: Tensor, wanted: Tensor) -> Tensor:
        """Bool (N,)."""
        if self.kept == "all":
            return torch.ones_like(wanted, dtype=torch.bool)
        return answered(logits, wanted)

    def _verdict(self, logits: Tensor, wanted: Tensor) -> dict[str, Tensor]:
        """What the teacher makes of the images, and how many are dropped."""
        dropped = (~self._kept(logits, wanted)).sum()
        return {**verdict(logits, wanted), "dropped": dropped}

    def _targets(self, logits: Tensor, forget: Tensor) -> Tensor:
        targets = target_probabilities(
            logits, forget, self.target, self.temperature, self.postfilter_threshold
        )
        if self.labels == "hard":
            return F.one_hot(targets.argmax(1), logits.shape[1]).to(targets.dtype)
        return targets
