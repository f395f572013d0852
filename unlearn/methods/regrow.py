"""Regrowth: shrink the teacher, renew its readout, regrow it on masked answers.

    X = images of every class, inverted from T under the prior R_BN
    S = start * T + (1 - start) * fresh, the forget classes' rows of the last layer fresh
    p(x) = softmax of T's retain logits, 0 at the forget classes
    w(x) = 0 where T gives the forget classes more probability than the gate, else 1
    for each iteration
        generator step:  z ~ N(0, I);  minimise prior * R_BN(T, G(z)) - w KL(p(G(z)) || S(G(z)))
        student steps:   x = G(z), z anew, and rows of X;  minimise w(x) KL(p(x) || S(x)),
                         S's batch norm in train mode
    shift the forget classes' logits to `depth` times T's level of absent classes: the
    log-probability that T gives the least likely class

It combines the adversarial generator and the gate of gated knowledge transfer ("Zero-Shot Machine
Unlearning", TIFS 2023), shrink-and-perturb (Ash & Adams, 2020), and the batch-norm prior of
DeepInversion ("Dreaming to Distill", CVPR 2020, eq. 4), here on the generator too. The prior lets
the student's batch norm run in train mode: images that match the teacher's statistics of real data
leave statistics in the student that suit real data. The student is taught only the retain classes'
features. At a rate that moves every weight, the features of classes that are never shown are lost,
as the probes show. With them shown (`gate: null`), masked targets or not, the student learns them
anew. Batch norm counts every image, also those of no weight; leaving these out changes neither D_r
nor the probe.
"""

from typing import ClassVar

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor

from unlearn.config.schema import CLOSED, Share
from unlearn.data.tensors import Access, Split
from unlearn.filters.compose import Product
from unlearn.filters.gate import ForgetGate
from unlearn.models.network import has_batch_norm
from unlearn.models.outputs import compute_logits
from unlearn.protocol import Request, Steps
from unlearn.synthesis.inversion import BatchNormPrior, DeepInversion
from unlearn.training.adversarial import AdversarialSettings, AdversarialTrainer, DistillationBatch
from unlearn.training.student import BatchNorm, set_forget_level


@dataclass(config=CLOSED, kw_only=True)
class Regrowth(AdversarialSettings):
    """A student regrown on inverted images and on the images of an adversarial generator.

    Args: those of `AdversarialSettings`, and
        pool: Images inverted for each class, all in one batch; 0: generated images alone.
        inversion_steps: Steps of Adam on the inverted images, at least 1; a tenth of them warm up.
        inversion_learning_rate: Largest learning rate of the inversion, above 0.
        tv_weight: Weight of the inverted images' total variation, at least 0.
        inverted_share: Share of inverted images in a student's batch, in [0, 1]; the other rows
            are generated.
        gate: Forget probability above which an image, inverted or generated, is not taught, in
            [0, 1], in addition to what the filter drops; None: all are taught.
        depth: Level at which the forget classes' logits are put at the end, in units of the
            teacher's level of absent classes (`set_forget_level`), at least 0; 0 leaves them.
        batch_norm_prior: Weight of R_BN for the inverted and the generated images, at least 0; a
            teacher without batch norm has no such term.
        first_layer_factor: Factor of the first layer in R_BN, at least 0.
    """

    access: ClassVar[Access] = "none"
    pool: NonNegativeInt
    inversion_steps: PositiveInt
    inversion_learning_rate: PositiveFloat
    tv_weight: NonNegativeFloat
    inverted_share: Share
    gate: Share | None
    depth: NonNegativeFloat
    batch_norm_prior: NonNegativeFloat
    first_layer_factor: NonNegativeFloat
    batch_norm: BatchNorm

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
                    trainer.require_images()
                    trainer.set_forget_level(batch)
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
            jitter=1,
        )
        labels = torch.arange(request.num_classes).repeat(method.pool).to(self.hardware.device)
        self.pool = yield from inversion.invert(request, labels, self.random)
        self.pool_logits = compute_logits(
            request.teacher, self.pool, self.hardware, method.batch_size
        )

    def generator_loss(self, noise: Tensor) -> Tensor:
        """The prior's penalty minus the divergence of the student from the teacher's target."""
        images = self.hardware.run(self.generator, noise)
        with BatchNormPrior(self.teacher, self.method.first_layer_factor) as prior:
            target, weights = self.make_target(self.hardware.run(self.teacher, images))
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
        return DistillationBatch(images, logits, *self.make_target(logits), [])

    def set_forget_level(self, batch: DistillationBatch) -> None:
        """Put the forget logits at `depth`, measured on the pool, or on a batch if it is empty."""
        if self.method.depth:
            set_forget_level(
                self.student,
                self.teacher,
                self.pool if len(self.pool) else batch.images,
                self.request.forget,
                self.request.num_classes,
                self.method.depth,
                self.hardware,
            )
