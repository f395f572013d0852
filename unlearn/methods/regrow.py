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

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from unlearn.data.tensors import Access, Split
from unlearn.filters.compose import Product
from unlearn.filters.gate import ForgetGate
from unlearn.models.network import has_batch_norm
from unlearn.models.outputs import compute_logits
from unlearn.protocol import Request, Steps
from unlearn.synthesis.inversion import BatchNormPrior, DeepInversion, invert_states
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

    def unlearn(self, request: Request, data: Split | None) -> Steps:
        """Yield the state after each inversion step and each iteration; see `Method`."""
        with RegrowthTrainer(self, request) as trainer:
            if self.pool:
                yield from trainer.fill_pool()
            for iteration in request.progress.steps("regrow", self.iterations, trainer.parts):
                for _ in range(self.generator_steps):
                    trainer.generator_step(trainer.draw_noise())
                for _ in range(self.student_steps):
                    batch = trainer.draw_batch()
                    terms = trainer.student_step(batch)
                trainer.step_schedules()
                if iteration == self.iterations:
                    trainer.require_finite(terms)
                    trainer.require_fed()
                    trainer.settle(batch)
                yield trainer.state(iteration, batch, terms)


class RegrowthTrainer(AdversarialTrainer):
    """Adds a prior on the generator and a pool of inverted images in each batch."""

    stage: ClassVar[str] = "regrow"

    def __init__(self, method: Regrowth, request: Request) -> None:
        super().__init__(method, request)
        self.method = method
        if method.gate is not None:
            self.filter = Product({"filter": self.filter, "gate": ForgetGate(method.gate)})
        self.pool = torch.zeros((0, *request.shape), device=self.hardware.device)
        self.pool_logits = self.pool.new_zeros(0, request.num_classes)  # the teacher's

    def fill_pool(self) -> Steps:
        """Yield the state after each inversion step; keep images (N, C, H, W) of every class."""
        method, request = self.method, self.request
        has_prior = has_batch_norm(request.teacher)
        inversion = DeepInversion(
            steps=method.inversion_steps,
            learning_rate=method.inversion_learning_rate,
            warmup=method.inversion_steps // 10,
            batch_norm_weight=method.batch_norm_prior if has_prior else 0.0,
            first_layer_factor=method.first_layer_factor,
            tv_weight=method.tv_weight,
            l2_weight=0.0,
            jitter=1,
            flip=False,
        )
        labels = torch.arange(request.num_classes).repeat(method.pool).to(self.hardware.device)
        inverting = inversion.invert(request, labels, self.random)
        self.pool = yield from invert_states(inverting, 0, method.inversion_steps)
        self.pool_logits = compute_logits(
            request.teacher, self.pool, self.hardware, method.batch_size
        )

    def generator_loss(self, noise: Tensor) -> Tensor:
        """The prior's penalty minus the divergence of the student from the teacher's target."""
        images = self.hardware.run(self.generator, noise)
        with BatchNormPrior(self.teacher, self.method.first_layer_factor) as prior:
            target, weights = self.ask(self.hardware.run(self.teacher, images))
            unfamiliar = prior.penalty()
        return self.method.batch_norm_prior * unfamiliar - self.divergence(
            target, self.hardware.run(self.student, images), weights
        )

    def draw_batch(self) -> DistillationBatch:
        """A batch of generated images and of images drawn from the pool."""
        wanted = round(self.method.inverted_share * self.method.batch_size)
        size = len(self.pool)
        rows = torch.randint(max(1, size), (wanted if size else 0,), generator=self.random)
        rows = rows.to(self.pool.device)
        noise = self.draw_noise(self.method.batch_size - len(rows))
        return self.synthesise(noise, self.pool[rows], self.pool_logits[rows])

    def make_batch(self, noise: Tensor, *beside: Tensor) -> DistillationBatch:
        """Generated images, and after them the pool's images and logits given beside."""
        drawn, drawn_logits = beside
        generated = self.hardware.run(self.generator, noise)
        images = torch.cat([generated, drawn])
        logits = torch.cat([self.hardware.run(self.teacher, generated), drawn_logits])
        return DistillationBatch(images, logits, *self.ask(logits), [])

    def settle(self, batch: DistillationBatch) -> None:
        """Set the readout's forget rows to `depth`, on the pool, or on a batch if it is empty."""
        if self.method.depth:
            settle_readout(
                self.student,
                self.teacher,
                self.pool if len(self.pool) else batch.images,
                self.request.forget,
                self.request.num_classes,
                self.method.depth,
                self.hardware,
            )
