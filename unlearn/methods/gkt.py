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
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR, ReduceLROnPlateau

from unlearn.data.tensors import Access, Split
from unlearn.errors import RunError
from unlearn.filters.compose import pass_rates
from unlearn.methods.base import Observed, Samples, State, Steps, StepsTogether, lone
from unlearn.methods.distillation import (
    Target,
    attention_loss,
    row_divergence,
    target_probabilities,
    weighted_mean,
)
from unlearn.methods.student import set_training, start_student
from unlearn.models.members import Member, Members, each
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
        return lone(self.unlearn_together([request]))

    def unlearn_together(self, requests: Sequence[Request]) -> StepsTogether:
        """The same for several requests at once; see `Together`."""
        with Game(self, requests) as game:
            progress = requests[0].progress
            for iteration in progress.steps("transfer", self.iterations, game.parts):
                noise = game.noise()
                for _ in range(self.generator_steps):
                    game.generator_step(noise)
                batch = game.synthesise(noise)
                for step in range(self.student_steps):
                    if self.fresh_noise and step:
                        batch = game.synthesise(game.noise())
                    scalars = game.student_step(batch)
                observed = yield game.states(iteration, batch, scalars)
                game.after(observed)
                if iteration % _CHECK_EVERY == 0 or iteration == self.iterations:
                    game.check(scalars, last=iteration == self.iterations)
            if game.restore_best():
                yield [
                    State("transfer", self.iterations, self.iterations, game.students.networks[0])
                ]


class Batch(NamedTuple):
    """Images of one iteration, and everything of the teacher's that the student steps reuse."""

    images: Tensor
    logits: Tensor
    target: Tensor
    weights: Tensor
    attention: list[Tensor]


class Game(ExitStack):
    """Students and generators of all requests with their optimisers; tensors are (M, B, ...)."""

    def __init__(self, method: GatedKnowledgeTransfer, requests: Sequence[Request]) -> None:
        super().__init__()
        self.method, self.requests = method, requests
        self.hardware = requests[0].hardware
        self.teachers = self.members([request.teacher for request in requests], tapped=True)
        self.students = self.members([self.start(request) for request in requests], tapped=True)
        self.randoms = [torch.Generator().manual_seed(request.seed) for request in requests]
        self.forget = torch.stack([request.forget_mask for request in requests])
        self.starved = self.forget.new_zeros(len(requests), dtype=torch.float)  # batches in a row
        self.fed = torch.zeros_like(self.starved)  # batches with any weight
        self.generator_losses = self.hardware.compile(self.generator_loss)
        self.imagined = self.hardware.compile(self.imagine)
        self.student_losses = self.hardware.compile(self.student_loss)
        self.student_optimizer = Adam(self.students.parameters(), method.learning_rate, fused=True)
        self.student_schedule = self.schedule_of(self.student_optimizer)
        self.kept: dict[str, Any] = {"rescues": 0, "best": None, "best_retain": -1.0}
        self.new_generators()

    def members(self, networks: list[nn.Module], tapped: bool = False) -> Members:
        layers = self.requests[0].attention if tapped and self.method.attention_weight else ()
        stacked = self.hardware.stacks
        members = Members(networks, self.hardware, stacked=stacked, layers=layers)
        return self.enter_context(members)

    def start(self, request: Request) -> nn.Module:
        method = self.method
        frozen = method.batch_norm == "frozen"
        return start_student(
            request, share=method.start, fresh_readout=method.fresh_readout, frozen=frozen
        )

    def new_generators(self) -> None:
        method = self.method
        generators = []
        for request in self.requests:
            with torch.random.fork_rng():
                torch.manual_seed(request.seed + self.kept["rescues"])
                generators.append(
                    ImageGenerator(method.latent, request.shape, method.generator_width)
                )
        self.generators = self.members([self.hardware.place(g) for g in generators])
        self.generator_optimizer = Adam(
            self.generators.parameters(), method.generator_learning_rate, fused=True
        )
        self.generator_schedule = self.schedule_of(self.generator_optimizer)

    def parts(self) -> dict[str, Any]:
        """All that an iteration changes; see `Progress.steps`."""
        return {
            "students": self.students,
            "generators": self.generators,
            "student_optimizer": self.student_optimizer,
            "generator_optimizer": self.generator_optimizer,
            "student_schedule": self.student_schedule,
            "generator_schedule": self.generator_schedule,
            "randoms": self.randoms,
            "starved": self.starved,
            "fed": self.fed,
            "kept": self.kept,
        }

    def schedule_of(self, optimizer: Adam) -> CosineAnnealingLR | ReduceLROnPlateau:
        if self.method.schedule == "published":
            return ReduceLROnPlateau(optimizer, mode="max", factor=0.5, patience=2)
        return CosineAnnealingLR(optimizer, self.method.iterations)

    def noise(self) -> Tensor:
        shape = (self.method.batch_size, self.method.latent)
        noises = [torch.randn(shape, generator=random) for random in self.randoms]
        return torch.stack(noises).to(self.hardware.device)

    def generator_step(self, noise: Tensor) -> None:
        groups = [self.generators, self.students, self.teachers]
        losses = each(self.generator_losses, groups, noise, self.forget)
        self.generator_optimizer.zero_grad()
        losses.sum().backward(inputs=self.generators.parameters())
        self.generators.clip_gradients(self.method.clip)
        self.generator_optimizer.step()

    def generator_loss(
        self, generator: Member, student: Member, teacher: Member, noise: Tensor, forget: Tensor
    ) -> Tensor:
        images = generator(noise)
        target, weights = self.ask(teacher(images), forget)
        return -self.divergence(target, student(images), weights)

    @torch.no_grad()
    def synthesise(self, noise: Tensor) -> Batch:
        batch: Batch = each(self.imagined, [self.generators, self.teachers], noise, self.forget)
        empty = batch.weights.sum(dim=1) == 0
        self.starved, self.fed = (self.starved + 1) * empty, self.fed + ~empty
        return batch

    def imagine(self, generator: Member, teacher: Member, noise: Tensor, forget: Tensor) -> Batch:
        images = generator(noise)
        logits, attention = teacher.attend(images)
        target, weights = self.ask(logits, forget)
        return Batch(images, logits, target, weights, attention)

    def ask(self, logits: Tensor, forget: Tensor) -> tuple[Tensor, Tensor]:
        """The target and the row weights that the teacher's logits give."""
        method = self.method
        target = target_probabilities(
            logits, forget, method.target, method.temperature, method.postfilter_threshold
        )
        return target, self.requests[0].filter(logits.detach(), forget)

    def divergence(self, target: Tensor, logits: Tensor, weights: Tensor) -> Tensor:
        """KL averaged over rows and classes, the published scale, to which beta is tuned."""
        rows = row_divergence(target, logits, self.method.temperature)
        return weighted_mean(rows, weights) / logits.shape[1]

    def student_step(self, batch: Batch) -> dict[str, Tensor]:
        divergence, attention = each(self.student_losses, [self.students], batch)
        loss = divergence + self.method.attention_weight * attention
        self.student_optimizer.zero_grad()
        loss.sum().backward()
        self.students.clip_gradients(self.method.clip)
        self.student_optimizer.step()
        return {"divergence": divergence.detach(), "attention": attention.detach()}

    def student_loss(self, student: Member, batch: Batch) -> tuple[Tensor, Tensor]:
        logits, maps = student.attend(batch.images)
        divergence = self.divergence(batch.target, logits, batch.weights)
        return divergence, attention_loss(batch.attention, maps, batch.weights)

    def check(self, scalars: dict[str, Tensor], last: bool) -> None:
        """Stop on a loss that is not finite; give a starved filter fresh generators, or stop."""
        if not all(torch.isfinite(values).all() for values in scalars.values()):
            raise RunError(
                f"method.learning_rate={self.method.learning_rate}: the student's loss is not "
                "finite; lower it"
            )
        rescues = self.kept["rescues"]
        hungry = bool((self.starved >= _CHECK_EVERY).any())
        never_fed = last and not bool(self.fed.all())
        if never_fed or (hungry and (rescues == _RESCUES or len(self.requests) > 1)):
            raise RunError(
                f"filter={self.requests[0].filter}: lets no generated sample through, after "
                f"{rescues} fresh generators; raise filter.gate or filter.entropy, or set null"
            )
        if hungry:
            self.kept["rescues"] += 1
            self.starved.zero_()
            self.new_generators()

    def states(self, iteration: int, batch: Batch, scalars: dict[str, Tensor]) -> list[State]:
        """What each request's observers see."""
        total = self.method.iterations
        found = []
        for index, student in enumerate(self.students.unstacked()):
            logits, weights = batch.logits[index], batch.weights[index]
            images = batch.images[index]
            shown = slice(_SHOWN)
            samples = Samples(images[shown], weights[shown], logits[shown].argmax(1))
            rates = pass_rates(self.requests[index].filter, logits, self.forget[index])
            figures = {name: values[index] for name, values in scalars.items()} | rates
            last = samples if iteration == total else None
            found.append(State("transfer", iteration, total, student, figures, last))
        return found

    def after(self, observed: Sequence[Observed | None]) -> None:
        """Step the schedules: each iteration for cosine, each evaluation as published."""
        seen = observed[0]
        retain = seen.retain if seen is not None else None
        _step(self.student_schedule, retain)
        if self.method.generator_steps:
            _step(self.generator_schedule, None if retain is None else 0.0)
        if seen is None:
            return
        (student,) = self.students.unstacked()
        if self.method.batch_norm == "published":
            set_training(student, frozen=True)
        if seen.forget == 0 and seen.retain > self.kept["best_retain"]:
            self.kept["best_retain"] = seen.retain
            if self.method.selection == "oracle":
                self.kept["best"] = copy.deepcopy(dict(student.state_dict()))

    def restore_best(self) -> bool:
        """Go back to the student that the oracle selected, if it selected one."""
        best = self.kept["best"]
        if best is not None:
            self.students.networks[0].load_state_dict(best)
        return best is not None


def _step(schedule: CosineAnnealingLR | ReduceLROnPlateau, score: float | None) -> None:
    """Step a cosine schedule always, a plateau one where there is a score."""
    if isinstance(schedule, CosineAnnealingLR):
        schedule.step()
    elif score is not None:
        schedule.step(score)
