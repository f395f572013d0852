"""Regrowth: shrink the teacher, renew what reads the classes out, regrow it on masked answers.

    X = images of every class inverted from T under the prior R_BN
    S = start * T + (1 - start) * fresh, the forget classes' rows of the readout fresh
    p(x) = softmax of T's retain logits, 0 at the forget classes
    w(x) = 0 where T gives the forget classes more than the gate, else 1
    for each iteration
        generator step:  z ~ N(0, I);  minimise prior * R_BN(T, G(z)) - w KL(p(G(z)) || S(G(z)))
        student steps:   x = G(z), z anew, and rows of X;  minimise w(x) KL(p(x) || S(x)),
                         S's batch norm in train mode
    shift the forget classes' logits to `depth` times T's depth: the log-probability at which T
    holds the least likely class, where a network trained without a class comes to hold it

What it is made of: the adversarial generator and the gate of gated knowledge transfer ("Zero-Shot
Machine Unlearning", TIFS 2023); shrink-and-perturb (Ash & Adams, 2020); and the batch-norm prior of
DeepInversion ("Dreaming to Distill", CVPR 2020, eq. 4), here on the generator too. The prior lets
the student's batch norm run in train mode: images whose statistics in the teacher are those of
real data leave statistics in the student that suit real data. What the student is taught keeps
only the retain classes' features; at a rate that moves every weight, those of the classes that are
never shown are lost, as the probes show. With them shown (`gate: null`), masked targets or not,
the student learns them anew. Batch norm counts every image, those of no weight too; leaving these
out changes neither D_r nor the probe.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from unlearn.data.tensors import Access, Split
from unlearn.filters.compose import Product
from unlearn.filters.gate import ForgetGate
from unlearn.models.members import Member
from unlearn.models.network import has_batch_norm
from unlearn.protocol import Request, State, Steps, StepsTogether, lone
from unlearn.synthesis.inversion import BatchNormPrior, DeepInversion
from unlearn.synthesis.pool import Pool, empty_pool, inverted_pool
from unlearn.training.adversarial import AdversarialSettings, AdversarialTrainer, DistillationBatch
from unlearn.training.student import settle_readout


@dataclass(frozen=True, kw_only=True)
class Regrowth(AdversarialSettings):
    """A student regrown on inverted images and on what a generator finds to teach it.

    Args:
        pool: images inverted for each class, all at once; 0: the generator's alone.
        inversion_steps: of Adam on the inverted images, a tenth of them to warm up.
        inversion_learning_rate: at the peak.
        tv_weight: of the inverted images' total variation.
        inverted_share: of a student's batch, in [0, 1]; the other rows are generated.
        gate: forget probability above which an image, inverted or generated, is not taught,
            beside what the filter drops; None: all are.
        depth: at which the forget classes' logits are put at the end, in units of the depth that
            the teacher holds an absent class at (`settle_readout`); 0 leaves them.
        batch_norm_prior: weight of R_BN in the losses of the inverted and of the generated images;
            a teacher without batch norm has no such term.
        first_layer_factor: of the first layer in R_BN.
    """

    pool: int
    inversion_steps: int
    inversion_learning_rate: float
    tv_weight: float
    inverted_share: float
    gate: float | None
    depth: float
    batch_norm_prior: float
    first_layer_factor: float

    @property
    def access(self) -> Access:
        """No data."""
        return "none"

    def inversion(self, prior: bool) -> DeepInversion:
        """How the images are inverted: with or without the batch-norm prior."""
        return DeepInversion(
            steps=self.inversion_steps,
            learning_rate=self.inversion_learning_rate,
            warmup=self.inversion_steps // 10,
            batch_norm_weight=self.batch_norm_prior if prior else 0.0,
            first_layer_factor=self.first_layer_factor,
            tv_weight=self.tv_weight,
            l2_weight=0.0,
            jitter=1,
            flip=False,
        )

    def unlearn(self, request: Request, data: Split | None) -> Steps:
        """Yield the state after each iteration; see `Method`."""
        return lone(self.unlearn_together([request]))

    def unlearn_together(self, requests: Sequence[Request]) -> StepsTogether:
        """The same for several requests at once; see `Together`."""
        with RegrowthTrainer(self, requests) as growing:
            if self.pool:
                yield from growing.invert()
            steps = requests[0].progress.steps("regrow", self.iterations, growing.parts)
            for iteration in steps:
                for _ in range(self.generator_steps):
                    growing.generator_step(growing.noise())
                for _ in range(self.student_steps):
                    lesson = growing.imagine()
                    losses = growing.student_step(lesson)
                growing.anneal()
                yield growing.states(iteration, lesson, losses)


class RegrowthTrainer(AdversarialTrainer):
    """The contest, with a prior on the generator and a pool of inverted images in each lesson."""

    stage: ClassVar[str] = "regrow"

    def __init__(self, method: Regrowth, requests: Sequence[Request]) -> None:
        super().__init__(method, requests)
        self.method = method
        if method.gate is not None:
            self.filter = Product({"filter": self.filter, "gate": ForgetGate(method.gate)})
        self.pool = empty_pool(requests)

    def invert(self) -> StepsTogether:
        """Yield the states of each inversion step, all requests' in step; fill the pool."""
        method = self.method
        inversion = method.inversion(has_batch_norm(self.requests[0].teacher))
        self.pool = yield from inverted_pool(
            inversion, self.requests, self.randoms, method.pool, method.batch_size
        )

    def generator_loss(
        self, generator: Member, student: Member, teacher: Member, noise: Tensor, forget: Tensor
    ) -> Tensor:
        """The prior's penalty less the divergence of student from teacher."""
        images = generator(noise)
        with BatchNormPrior(teacher.body, self.method.first_layer_factor) as prior:
            target, weights = self.ask(teacher(images), forget)
            unfamiliar = prior.penalty()
        return self.method.batch_norm_prior * unfamiliar - self.divergence(
            target, student(images), weights
        )

    def imagine(self) -> DistillationBatch:
        """A lesson on images drawn from the pool and generated ones."""
        wanted = round(self.method.inverted_share * self.method.batch_size)
        drawn = self.pool.drawn(wanted, self.randoms)
        return self.synthesise(self.noise(self.method.batch_size - drawn.images.shape[1]), drawn)

    def lesson(
        self, generator: Member, teacher: Member, noise: Tensor, forget: Tensor, *beside: Any
    ) -> DistillationBatch:
        """Generated images, and after them those of the pool given beside."""
        drawn: Pool = beside[0]
        generated = generator(noise)
        images = torch.cat([generated, drawn.images])
        logits = torch.cat([teacher(generated), drawn.logits])
        return DistillationBatch(images, logits, *self.ask(logits, forget), [])

    def states(
        self, iteration: int, lesson: DistillationBatch, terms: dict[str, Tensor]
    ) -> list[State]:
        """What each request's observers see; the last iteration settles the readouts first."""
        if iteration == self.method.iterations:
            self.require_finite(terms)
            self.require_fed()
            if self.method.depth:
                self.settle(lesson)
        return super().states(iteration, lesson, terms)

    def settle(self, lesson: DistillationBatch) -> None:
        """Shift the readouts' forget rows, by the pool, or by the last images if there is none."""
        pooled = self.pool.images
        images = pooled if pooled.shape[1] else lesson.images
        for request, student, shown in zip(
            self.requests, self.students.unstacked(), images, strict=True
        ):
            settle_readout(
                student,
                request.teacher,
                shown,
                request.forget,
                request.num_classes,
                self.method.depth,
                self.hardware,
            )
        self.students.restack()
