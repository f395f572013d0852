"""Regrowth: shrink the teacher, renew what reads the classes out, regrow it on masked answers.

    X = images of every class, forgotten ones too, inverted from T under the prior R_BN
    S = start * T + (1 - start) * fresh, the forget classes' rows of the readout fresh
    p(x) = softmax of T's retain logits, 0 at the forget classes
    for each iteration
        generator step:  z ~ N(0, I);  minimise prior * R_BN(T, G(z)) - KL(p(G(z)) || S(G(z)))
        student steps:   x = G(z), z anew, and rows of X;  minimise KL(p(x) || S(x)),
                         S's batch norm in train mode
    move the forget classes' rows of the readout towards T's depth: the log-probability that T
    holds the least likely class at, where a network trained without a class comes to hold it

What it is made of: the adversarial generator of gated knowledge transfer ("Zero-Shot Machine
Unlearning", TIFS 2023) without its gate; shrink-and-perturb (Ash & Adams, 2020); and the
batch-norm prior of DeepInversion ("Dreaming to Distill", CVPR 2020, eq. 4), here on the generator.
The prior is what lets the student's batch norm run in train mode: images whose statistics in the
teacher are those of real data leave statistics in the student that suit real data too. Images like
a forgotten class are not filtered out: they carry how a network answers that never saw it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR

from unlearn.data.tensors import Access, Split
from unlearn.errors import RunError
from unlearn.filters.compose import pass_rates
from unlearn.filters.gate import ForgetGate
from unlearn.methods.base import Samples, State, Steps, StepsTogether, lone
from unlearn.methods.distillation import (
    Target,
    row_divergence,
    target_probabilities,
    weighted_mean,
)
from unlearn.methods.readout import settle_readout
from unlearn.methods.student import start_student
from unlearn.models.members import Member, Members, each
from unlearn.models.network import has_batch_norm
from unlearn.request import Request
from unlearn.synthesis.generator import ImageGenerator
from unlearn.synthesis.inversion import BatchNormPrior, DeepInversion
from unlearn.synthesis.pool import Pool, empty_pool, inverted_pool

_SHOWN = 64  # samples kept for pictures


@dataclass(frozen=True, kw_only=True)
class Regrowth:
    """A student regrown on inverted images and on what a generator finds to teach it.

    Args:
        pool: images inverted for each class, all at once; 0: the generator's alone.
        inversion_steps: of Adam on the inverted images, a tenth of them to warm up.
        inversion_learning_rate: at the peak.
        tv_weight: of the inverted images' total variation.
        inverted_share: of a student's batch, in [0, 1]; the other rows are generated.
        iterations: each of generator steps and student steps.
        batch_size: images a step.
        student_steps: an iteration, each on new images.
        generator_steps: an iteration.
        latent: dimension of the generator's noise.
        generator_width: channels of the generator's first convolution.
        learning_rate: of the student (Adam, cosine to zero).
        generator_learning_rate: of the generator (Adam, cosine to zero).
        clip: largest norm of a gradient.
        gate: forget probability above which an image, inverted or generated, is not taught,
            beside what the filter drops; None: all are.
        start: the teacher's share in the student's starting weights, 0 random, 1 the teacher.
        fresh_readout: whether the forget classes' rows of the last layer start fresh.
        depth: at which the forget classes' logits are put at the end, in units of the depth that
            the teacher holds an absent class at (`settle_readout`); 0 leaves them.
        target: what the student is taught: masked, raw or postfilter (`target_probabilities`).
        postfilter_threshold: forget mass above which `postfilter` acts.
        batch_norm: the student's: `train`, or `frozen` at the teacher's statistics.
        batch_norm_prior: weight of R_BN in the losses of the inverted and of the generated images;
            a teacher without batch norm has no such term.
        first_layer_factor: of the first layer in R_BN.
    """

    pool: int
    inversion_steps: int
    inversion_learning_rate: float
    tv_weight: float
    inverted_share: float
    iterations: int
    batch_size: int
    student_steps: int
    generator_steps: int
    latent: int
    generator_width: int
    learning_rate: float
    generator_learning_rate: float
    clip: float
    gate: float | None
    start: float
    fresh_readout: bool
    depth: float
    target: Target
    postfilter_threshold: float
    batch_norm: Literal["train", "frozen"]
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
        with Regrowing(self, requests) as growing:
            if self.pool:
                yield from growing.invert()
            steps = requests[0].progress.steps("regrow", self.iterations, growing.parts)
            for iteration in steps:
                for _ in range(self.generator_steps):
                    growing.generator_step()
                for _ in range(self.student_steps):
                    lesson = growing.imagine()
                    losses = growing.student_step(lesson)
                growing.anneal()
                yield growing.states(iteration, lesson, losses)


class Lesson(NamedTuple):
    """Images of one student step, the teacher's logits on them, its target and the row weights."""

    images: Tensor
    logits: Tensor
    target: Tensor
    weights: Tensor


class Regrowing(ExitStack):
    """Students and generators of all requests with their optimisers; tensors are (M, B, ...)."""

    def __init__(self, method: Regrowth, requests: Sequence[Request]) -> None:
        super().__init__()
        self.method, self.requests = method, requests
        self.hardware = requests[0].hardware
        self.forget = torch.stack([request.forget_mask for request in requests])
        self.randoms = [torch.Generator().manual_seed(request.seed) for request in requests]
        self.teachers = self.members([request.teacher for request in requests])
        self.students = self.members([self.start(request) for request in requests])
        self.generators = self.members([self.generator(request) for request in requests])
        self.lessons = self.hardware.compile(self.lesson)
        self.student_losses = self.hardware.compile(self.student_loss)
        rates = method.learning_rate, method.generator_learning_rate
        self.student_optimizer = Adam(self.students.parameters(), rates[0], fused=True)
        self.generator_optimizer = Adam(self.generators.parameters(), rates[1], fused=True)
        self.pool = empty_pool(requests)
        self.fed = torch.zeros(len(requests), device=self.hardware.device)  # lessons of any weight
        self.schedules = [
            CosineAnnealingLR(optimizer, method.iterations)
            for optimizer in (self.student_optimizer, self.generator_optimizer)
        ]

    def members(self, networks: list[nn.Module]) -> Members:
        return self.enter_context(Members(networks, self.hardware, stacked=self.hardware.stacks))

    def start(self, request: Request) -> nn.Module:
        method = self.method
        return start_student(
            request,
            share=method.start,
            fresh_readout=method.fresh_readout,
            frozen=method.batch_norm == "frozen",
        )

    def generator(self, request: Request) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(request.seed)
            generator = ImageGenerator(
                self.method.latent, request.shape, self.method.generator_width
            )
        return self.hardware.place(generator)

    def parts(self) -> dict[str, Any]:
        """All that an iteration changes; see `Progress.steps`."""
        return {
            "students": self.students,
            "generators": self.generators,
            "student_optimizer": self.student_optimizer,
            "generator_optimizer": self.generator_optimizer,
            "student_schedule": self.schedules[0],
            "generator_schedule": self.schedules[1],
            "randoms": self.randoms,
            "fed": self.fed,
        }

    def invert(self) -> StepsTogether:
        """Yield the states of each inversion step, all requests' in step; fill the pool."""
        method = self.method
        inversion = method.inversion(has_batch_norm(self.requests[0].teacher))
        self.pool = yield from inverted_pool(
            inversion, self.requests, self.randoms, method.pool, method.batch_size
        )

    def noise(self, count: int) -> Tensor:
        shape = (count, self.method.latent)
        noises = [torch.randn(shape, generator=random) for random in self.randoms]
        return torch.stack(noises).to(self.hardware.device)

    def generator_step(self) -> None:
        groups = [self.generators, self.students, self.teachers]
        losses = each(self.generator_loss, groups, self.noise(self.method.batch_size), self.forget)
        self.generator_optimizer.zero_grad()
        losses.sum().backward(inputs=self.generators.parameters())
        self.generators.clip_gradients(self.method.clip)
        self.generator_optimizer.step()

    def generator_loss(
        self, generator: Member, student: Member, teacher: Member, noise: Tensor, forget: Tensor
    ) -> Tensor:
        images = generator(noise)
        with BatchNormPrior(teacher.body, self.method.first_layer_factor) as prior:
            target, weights = self.ask(teacher(images), forget)
            unfamiliar = prior.penalty()
        return self.method.batch_norm_prior * unfamiliar - self.divergence(
            target, student(images), weights
        )

    @torch.no_grad()
    def imagine(self) -> Lesson:
        groups = [self.generators, self.teachers]
        wanted = round(self.method.inverted_share * self.method.batch_size)
        drawn = self.pool.drawn(wanted, self.randoms)
        noise = self.noise(self.method.batch_size - drawn.images.shape[1])
        lesson: Lesson = each(self.lessons, groups, noise, drawn, self.forget)
        self.fed += lesson.weights.sum(dim=1) > 0
        return lesson

    def lesson(
        self, generator: Member, teacher: Member, noise: Tensor, drawn: Pool, forget: Tensor
    ) -> Lesson:
        generated = generator(noise)
        images = torch.cat([generated, drawn.images])
        logits = torch.cat([teacher(generated), drawn.logits])
        return Lesson(images, logits, *self.ask(logits, forget))

    def ask(self, logits: Tensor, forget: Tensor) -> tuple[Tensor, Tensor]:
        """The target and the row weights that the teacher's logits give."""
        method = self.method
        target = target_probabilities(
            logits, forget, method.target, postfilter_threshold=method.postfilter_threshold
        )
        weights = self.requests[0].filter(logits.detach(), forget)
        if method.gate is not None:
            weights = weights * ForgetGate(method.gate)(logits.detach(), forget)
        return target, weights

    def divergence(self, target: Tensor, logits: Tensor, weights: Tensor) -> Tensor:
        """KL averaged over rows and classes, to which the prior's weight is tuned."""
        rows = row_divergence(target, logits)
        return weighted_mean(rows, weights) / logits.shape[1]

    def student_step(self, lesson: Lesson) -> Tensor:
        losses = each(self.student_losses, [self.students], lesson)
        self.student_optimizer.zero_grad()
        losses.sum().backward()
        self.students.clip_gradients(self.method.clip)
        self.student_optimizer.step()
        reached: Tensor = losses.detach()
        return reached

    def student_loss(self, student: Member, lesson: Lesson) -> Tensor:
        return self.divergence(lesson.target, student(lesson.images), lesson.weights)

    def anneal(self) -> None:
        for schedule in self.schedules:
            schedule.step()

    def states(self, iteration: int, lesson: Lesson, losses: Tensor) -> list[State]:
        """What each request's observers see."""
        total = self.method.iterations
        if iteration == total:
            self.check(losses)
            if self.method.depth:
                self.settle(lesson)
        found = []
        for index, student in enumerate(self.students.unstacked()):
            images, logits, _, weights = (values[index] for values in lesson)
            shown = Samples(images[:_SHOWN], weights[:_SHOWN], logits[:_SHOWN].argmax(1))
            rates = pass_rates(self.requests[index].filter, logits, self.forget[index])
            figures = {"divergence": losses[index], **rates}
            last = shown if iteration == total else None
            found.append(State("regrow", iteration, total, student, figures, last))
        return found

    def check(self, losses: Tensor) -> None:
        """Raise `RunError` if nothing was learned, or no number is left to learn with."""
        if not torch.isfinite(losses).all():
            raise RunError(
                f"method.learning_rate={self.method.learning_rate}: the student's loss is not "
                "finite; lower it"
            )
        if not self.fed.all():
            raise RunError(
                f"method.gate={self.method.gate} and filter={self.requests[0].filter} let no image "
                "through; raise them, or set null"
            )

    def settle(self, lesson: Lesson) -> None:
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
