"""Gated knowledge transfer (GKT): a generator finds where student and teacher differ.

"Zero-Shot Machine Unlearning", Chundawat et al., TIFS 2023, section V and algorithm 2:

    for each iteration
        z ~ N(0, I)
        generator step:  minimise -KL(T(G(z)) || S(G(z)))
        x = G(z), w = filter(T(x)), p = target(T(x))
        student steps:   minimise KL(p || S(x)) + beta * sum_l MSE(A_l(T), A_l(S)), weighed by w
"""

from __future__ import annotations

import copy
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR, ReduceLROnPlateau

from unlearn.data.tensors import Access, Split
from unlearn.errors import RunError
from unlearn.filters.compose import pass_rates
from unlearn.methods.base import Observed, Samples, State, Steps
from unlearn.methods.distillation import (
    Target,
    attention_loss,
    row_divergence,
    target_probabilities,
    weighted_mean,
)
from unlearn.methods.student import set_training, start_student
from unlearn.models.attention import AttentionTaps
from unlearn.request import Request
from unlearn.synthesis.generator import ImageGenerator

_CHECK_EVERY = 25  # iterations between looks at the loss and the filter: each waits for the device
_RESCUES = 3  # fresh generators before a starved filter ends the run
_SHOWN = 64  # samples kept for pictures


@dataclass(frozen=True, kw_only=True)
class GatedKnowledgeTransfer:
    """GKT with the published code's faults mended, each switchable.

    Args:
        iterations: outer iterations, each with its own z.
        batch_size: rows of z.
        student_steps: student steps an iteration.
        fresh_noise: whether each student step draws its own z; published: all share one.
        generator_steps: generator steps an iteration.
        latent: dimension of z.
        generator_width: channels of the generator's first convolution.
        learning_rate: of the student (Adam).
        generator_learning_rate: of the generator (Adam).
        clip: largest norm of a gradient.
        attention_weight: beta; 0 leaves the attention term out.
        temperature: tau of both softmaxes; no tau^2 factor, as published.
        target: what the student is taught: raw, masked or postfilter (`target_probabilities`).
        postfilter_threshold: forget mass above which `postfilter` acts.
        start: the teacher's share in the student's starting weights, 0 random, 1 the teacher.
        fresh_readout: whether the forget classes' rows of the last layer start fresh.
        batch_norm: the student's: `train`; `frozen` at the statistics it starts with;
            `published`: train until the first evaluation, frozen after it.
        schedule: `cosine` to zero, or `published`: halved when the real test accuracy does not
            rise (student) and on a constant (generator).
        selection: `last` iterate, or `oracle`: the best real test D_r with D_f = 0.
        as_published: for the record; the config has then laid the published settings over these.
    """

    iterations: int
    batch_size: int
    student_steps: int
    fresh_noise: bool
    generator_steps: int
    latent: int
    generator_width: int
    learning_rate: float
    generator_learning_rate: float
    clip: float
    attention_weight: float
    temperature: float
    target: Target
    postfilter_threshold: float
    start: float
    fresh_readout: bool
    batch_norm: Literal["train", "frozen", "published"]
    schedule: Literal["cosine", "published"]
    selection: Literal["last", "oracle"]
    as_published: bool = False

    @property
    def access(self) -> Access:
        """`oracle` where test accuracies steer the run, as in the published code; else `none`."""
        return "oracle" if self.schedule == "published" or self.selection == "oracle" else "none"

    def unlearn(self, request: Request, data: Split | None) -> Steps:
        """Yield the state after each iteration; see `Method`."""
        layers = request.attention if self.attention_weight else ()
        with ExitStack() as stack:
            game = _Game(self, request)
            teacher_taps = stack.enter_context(AttentionTaps(request.teacher, layers))
            student_taps = stack.enter_context(AttentionTaps(game.student, layers))
            for iteration in range(1, self.iterations + 1):
                noise = game.noise()
                for _ in range(self.generator_steps):
                    game.generator_step(noise)
                batch = game.synthesise(noise, teacher_taps)
                for step in range(self.student_steps):
                    if self.fresh_noise and step:
                        batch = game.synthesise(game.noise(), teacher_taps)
                    scalars = game.student_step(batch, student_taps)
                observed = yield game.state(iteration, batch, scalars)
                game.after(observed)
                if iteration % _CHECK_EVERY == 0 or iteration == self.iterations:
                    game.check(scalars, last=iteration == self.iterations)
            if game.restore_best():
                yield game.state(self.iterations, batch, scalars)


@dataclass(frozen=True)
class _Batch:
    """Images of one iteration, and everything of the teacher's that the student steps reuse."""

    images: Tensor
    logits: Tensor
    target: Tensor
    weights: Tensor
    attention: list[Tensor]


class _Game:
    """Student and generator with their optimisers."""

    def __init__(self, method: GatedKnowledgeTransfer, request: Request) -> None:
        self.method, self.request = method, request
        hardware = request.hardware
        self.student = start_student(
            request,
            share=method.start,
            fresh_readout=method.fresh_readout,
            frozen=method.batch_norm == "frozen",
        )
        self.random = torch.Generator().manual_seed(request.seed)
        self.forget = request.forget_mask
        self.starved = torch.zeros((), device=hardware.device)  # batches in a row without weight
        self.fed = torch.zeros((), device=hardware.device)  # batches with any
        self.rescues = 0
        self.student_optimizer = Adam(self.student.parameters(), method.learning_rate, fused=True)
        self.student_schedule = self.schedule_of(self.student_optimizer)
        self.best: dict[str, Tensor] | None = None
        self.best_retain = -1.0
        self.new_generator()

    def new_generator(self) -> None:
        method = self.method
        generator = ImageGenerator(method.latent, self.request.shape, method.generator_width)
        self.generator = self.request.hardware.place(generator)
        self.generator_optimizer = Adam(
            self.generator.parameters(), method.generator_learning_rate, fused=True
        )
        self.generator_schedule = self.schedule_of(self.generator_optimizer)

    def schedule_of(self, optimizer: Adam) -> CosineAnnealingLR | ReduceLROnPlateau:
        if self.method.schedule == "published":
            return ReduceLROnPlateau(optimizer, mode="max", factor=0.5, patience=2)
        return CosineAnnealingLR(optimizer, self.method.iterations)

    def noise(self) -> Tensor:
        noise = torch.randn(self.method.batch_size, self.method.latent, generator=self.random)
        return noise.to(self.request.hardware.device)

    def generator_step(self, noise: Tensor) -> None:
        with self.request.hardware.autocast():
            images = self.request.hardware.layout(self.generator(noise))
            logits = self.request.teacher(images)
            student_logits = self.student(images)
        target, weights = self.ask(logits.float())
        loss = -self.divergence(target, student_logits.float(), weights)
        self.generator_optimizer.zero_grad()
        loss.backward(inputs=list(self.generator.parameters()))
        nn.utils.clip_grad_norm_(self.generator.parameters(), self.method.clip)
        self.generator_optimizer.step()

    @torch.no_grad()
    def synthesise(self, noise: Tensor, taps: AttentionTaps) -> _Batch:
        with self.request.hardware.autocast():
            images = self.request.hardware.layout(self.generator(noise))
            logits, attention = taps(images)
        logits = logits.float()
        target, weights = self.ask(logits)
        empty = weights.sum() == 0
        self.starved, self.fed = (self.starved + 1) * empty, self.fed + ~empty
        return _Batch(images, logits, target, weights, attention)

    def ask(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """The target and the row weights that the teacher's logits give."""
        method = self.method
        target = target_probabilities(
            logits, self.forget, method.target, method.temperature, method.postfilter_threshold
        )
        return target, self.request.filter(logits.detach(), self.forget)

    def divergence(self, target: Tensor, logits: Tensor, weights: Tensor) -> Tensor:
        """KL averaged over rows and classes, the published scale, to which beta is tuned."""
        rows = row_divergence(target, logits, self.method.temperature)
        return weighted_mean(rows, weights) / logits.shape[1]

    def student_step(self, batch: _Batch, taps: AttentionTaps) -> dict[str, Tensor]:
        with self.request.hardware.autocast():
            logits, maps = taps(batch.images)
        divergence = self.divergence(batch.target, logits.float(), batch.weights)
        attention = attention_loss(batch.attention, maps, batch.weights)
        loss = divergence + self.method.attention_weight * attention
        self.student_optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.student.parameters(), self.method.clip)
        self.student_optimizer.step()
        return {"divergence": divergence.detach(), "attention": attention.detach()}

    def check(self, scalars: dict[str, Tensor], last: bool) -> None:
        """Stop on a loss that is not finite; give a starved filter a fresh generator, or stop."""
        if not all(torch.isfinite(value) for value in scalars.values()):
            raise RunError(
                f"method.learning_rate={self.method.learning_rate}: the student's loss is not "
                "finite; lower it"
            )
        hungry = bool(self.starved >= _CHECK_EVERY)
        if (hungry and self.rescues == _RESCUES) or (last and not self.fed):
            raise RunError(
                f"filter={self.request.filter}: lets no generated sample through, after "
                f"{self.rescues} fresh generators; raise filter.gate or filter.entropy, or set null"
            )
        if hungry:
            self.rescues += 1
            self.starved.zero_()
            self.new_generator()

    def state(self, iteration: int, batch: _Batch, scalars: dict[str, Tensor]) -> State:
        samples = None
        if iteration == self.method.iterations:
            shown = slice(_SHOWN)
            samples = Samples(
                batch.images[shown].float(), batch.weights[shown], batch.logits[shown].argmax(1)
            )
        rates = pass_rates(self.request.filter, batch.logits, self.forget)
        return State(
            "transfer", iteration, self.method.iterations, self.student, scalars | rates, samples
        )

    def after(self, observed: Observed | None) -> None:
        """Step the schedules: each iteration for cosine, each evaluation as published."""
        retain = observed.retain if observed is not None else None
        _step(self.student_schedule, retain)
        if self.method.generator_steps:
            _step(self.generator_schedule, None if retain is None else 0.0)
        if observed is None:
            return
        if self.method.batch_norm == "published":
            set_training(self.student, frozen=True)
        if observed.forget == 0 and observed.retain > self.best_retain:
            self.best_retain = observed.retain
            if self.method.selection == "oracle":
                self.best = copy.deepcopy(self.student.state_dict())

    def restore_best(self) -> bool:
        """Go back to the student that the oracle selected, if it selected one."""
        if self.best is not None:
            self.student.load_state_dict(self.best)
        return self.best is not None


def _step(schedule: CosineAnnealingLR | ReduceLROnPlateau, score: float | None) -> None:
    """Step a cosine schedule always, a plateau one where there is a score."""
    if isinstance(schedule, CosineAnnealingLR):
        schedule.step()
    elif score is not None:
        schedule.step(score)
