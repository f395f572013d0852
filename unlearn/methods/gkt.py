"""Gated knowledge transfer (GKT): a generator finds where student and teacher differ.

"Zero-Shot Machine Unlearning", Chundawat et al., TIFS 2023, section V and algorithm 2:

    for each iteration
        z ~ N(0, I)
        x = G(z), w = filter(T(x)), p = target(T(x))
        generator step:  minimise -KL(p || S(x)), weighed by w
        student steps:   minimise KL(p || S(x)) + beta * sum_l MSE(A_l(T), A_l(S)), weighed by w

The published code drops the rows that the filter does not pass before the student sees them; here
they have no weight, but batch norm in train mode counts them.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from unlearn.data.tensors import Access, Split
from unlearn.errors import RunError
from unlearn.models.members import Member
from unlearn.protocol import Observed, Request, State, Steps, StepsTogether, lone
from unlearn.roles import SELECT
from unlearn.training.adversarial import AdversarialSettings, AdversarialTrainer, DistillationBatch
from unlearn.training.losses import attention_loss
from unlearn.training.student import set_training

_CHECK_EVERY = 25  # iterations between looks at the loss and the filter: each waits for the device
_RESCUES = 3  # fresh generators before a starved filter ends the run


@dataclass(frozen=True, kw_only=True)
class GatedKnowledgeTransfer(AdversarialSettings):
    """GKT with the published code's faults mended, each switchable.

    Args:
        fresh_noise: whether each student step draws its own z; published: all share one.
        attention_weight: beta; 0 leaves the attention term out.
        temperature: tau of both softmaxes; no tau^2 factor, as published.
        batch_norm: the student's: `train`; `frozen` at the statistics it starts with;
            `published`: train in the first iteration, frozen after it: the published code
            evaluates the student then, and never sets it back to train mode.
        schedule: `cosine` to zero, or `published`: stepped at each look at the student
            (`evaluation.every`, published 50), halved when the real test accuracy does not rise
            (student) and on a constant (generator).
        selection: `last` iterate, or `oracle`: the best real test D_r with D_f = 0.
        as_published: for the record; the config has then laid the published settings over these.
    """

    fresh_noise: bool
    attention_weight: float
    temperature: float
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
        with GKTTrainer(self, requests) as game:
            progress = requests[0].progress
            for iteration in progress.steps("transfer", self.iterations, game.parts):
                if iteration > 1 and self.batch_norm == "published":
                    game.freeze_batch_norm()
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
                yield [State(SELECT, 1, 1, game.students.networks[0])]


class GKTTrainer(AdversarialTrainer):
    """The contest, with attention, fresh generators for a starved filter, and the oracle's say."""

    stage: ClassVar[str] = "transfer"

    def __init__(self, method: GatedKnowledgeTransfer, requests: Sequence[Request]) -> None:
        self.method = method
        super().__init__(method, requests, requests[0].attention if method.attention_weight else ())
        self.temperature = method.temperature
        self.generator_losses = self.hardware.compile(self.generator_loss)
        self.starved = torch.zeros_like(self.fed)  # batches in a row
        self.kept: dict[str, Any] = {"rescues": 0, "best": None, "best_retain": -1.0}

    def parts(self) -> dict[str, Any]:
        """All that an iteration changes; see `Progress.steps`."""
        return {**super().parts(), "starved": self.starved, "kept": self.kept}

    def schedule_of(self, optimizer: Optimizer) -> LRScheduler:
        if self.method.schedule == "published":
            return ReduceLROnPlateau(optimizer, mode="max", factor=0.5, patience=2)
        return super().schedule_of(optimizer)

    def generator_loss(
        self, generator: Member, student: Member, teacher: Member, noise: Tensor, forget: Tensor
    ) -> Tensor:
        """The negative divergence of the student from the teacher's target."""
        images = generator(noise)
        target, weights = self.ask(teacher(images), forget)
        return -self.divergence(target, student(images), weights)

    def synthesise(self, noise: Tensor, *beside: Any) -> DistillationBatch:
        """A lesson from noise (M, B, latent); counts the batches that the filter empties."""
        batch = super().synthesise(noise)
        self.starved = (self.starved + 1) * (batch.weights.sum(dim=1) == 0)
        return batch

    def student_loss(
        self, student: Member, lesson: DistillationBatch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Divergence + beta * attention, and both."""
        logits, maps = student.attend(lesson.images)
        divergence = self.divergence(lesson.target, logits, lesson.weights)
        attention = attention_loss(lesson.attention, maps, lesson.weights)
        loss = divergence + self.method.attention_weight * attention
        return loss, {"divergence": divergence, "attention": attention}

    def check(self, scalars: dict[str, Tensor], last: bool) -> None:
        """Stop on a loss that is not finite; give a starved filter fresh generators, or stop."""
        self.require_finite(scalars)
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
            self.new_generators(seed=self.kept["rescues"])

    def freeze_batch_norm(self) -> None:
        """From here on the students keep their running statistics."""
        for student in self.students.networks:
            set_training(student, frozen=True)

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


def _step(schedule: LRScheduler, score: float | None) -> None:
    """Step a cosine schedule always, a plateau one where there is a score."""
    if not isinstance(schedule, ReduceLROnPlateau):
        schedule.step()
    elif score is not None:
        schedule.step(score)
