"""Gated knowledge transfer (GKT): a generator finds where student and teacher differ.

"Zero-Shot Machine Unlearning" (Chundawat et al., TIFS 2023), section V and algorithm 2:

    for each iteration
        z ~ N(0, I)
        x = G(z), w = filter(T(x)), p = target(T(x))
        generator step:  minimise -KL(p || S(x)), weighted by w
        student steps:   minimise KL(p || S(x)) + beta * sum_l MSE(A_l(T), A_l(S)), weighted by w

The published code drops the rows that the filter does not pass before the student sees them. Here
they have no weight, but batch norm in train mode counts them.
"""

import copy
from typing import Any, ClassVar, Literal

import torch
from pydantic import NonNegativeFloat, PositiveFloat
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from unlearn.config.schema import CLOSED
from unlearn.data.tensors import Access, Split
from unlearn.errors import RunError
from unlearn.protocol import Observed, Request, State, Steps
from unlearn.roles import SELECT
from unlearn.training.adversarial import AdversarialSettings, AdversarialTrainer, DistillationBatch
from unlearn.training.losses import attention_loss
from unlearn.training.student import set_training

_CHECK_EVERY = 25  # iterations between checks of the loss and the filter: each waits for the device
_RESCUES = 3  # fresh generators before a filter that passes nothing ends the run


@dataclass(config=CLOSED, kw_only=True)
class GatedKnowledgeTransfer(AdversarialSettings):
    """GKT with the published code's faults corrected; each correction can be switched off.

    Args: those of `AdversarialSettings`, and
        fresh_noise: Whether each student step draws its own z; as published, all share one.
        attention_weight: Weight of the attention loss (beta in the paper), at least 0; 0 disables
            the term.
        temperature: Temperature of both softmaxes (tau), above 0; no tau^2 factor, as published.
        batch_norm: Batch norm of the student: `train`; `frozen` at the statistics that it starts
            with; `published`: train in the first iteration, frozen afterwards, because the
            published code evaluates the student then and never sets it back to train mode.
        schedule: `cosine` to zero; `published`: stepped when the student is evaluated
            (`evaluation.every`, 50 as published), and halved when the test accuracy does not rise
            (student) or on a constant (generator).
        selection: `last` iterate; `oracle`: the best test D_r with D_f = 0.
    """

    fresh_noise: bool
    attention_weight: NonNegativeFloat
    temperature: PositiveFloat
    schedule: Literal["cosine", "published"]
    selection: Literal["last", "oracle"]

    @property
    def access(self) -> Access:
        """`oracle` where test accuracies steer the run, as in the published code, else `none`."""
        return "oracle" if self.schedule == "published" or self.selection == "oracle" else "none"

    def unlearn(self, request: Request, data: Split | None) -> Steps:
        """Yield the state after each iteration; see `Method`."""
        with GKTTrainer(self, request) as trainer:
            steps = request.progress.steps("transfer", self.iterations, trainer.parts)
            for iteration in steps:
                if iteration > 1 and self.batch_norm == "published":
                    set_training(trainer.student, frozen=True)
                noise = trainer.draw_noise()
                for _ in range(self.generator_steps):
                    trainer.generator_step(noise)
                batch = trainer.synthesise(noise)
                for step in range(self.student_steps):
                    if self.fresh_noise and step:
                        batch = trainer.synthesise(trainer.draw_noise())
                    terms = trainer.student_step(batch)
                observed = yield trainer.state(iteration, batch, terms)
                trainer.observe(observed)
                if iteration % _CHECK_EVERY == 0 or iteration == self.iterations:
                    trainer.check(terms, last=iteration == self.iterations)
            if trainer.restore_best():
                yield State(SELECT, 1, 1, trainer.student)


class GKTTrainer(AdversarialTrainer):
    """Adds the attention loss, fresh generators where the filter passes nothing, and selection."""

    stage: ClassVar[str] = "transfer"

    def __init__(self, method: GatedKnowledgeTransfer, request: Request) -> None:
        self.method = method
        super().__init__(method, request, request.attention if method.attention_weight else ())
        self.temperature = method.temperature
        self.compiled_generator_loss = self.hardware.compile(self.generator_loss)
        self.empty_batches = torch.zeros_like(self.useful_batches)  # in a row
        self.kept: dict[str, Any] = {"rescues": 0, "best": None, "best_retain": -1.0}

    def parts(self) -> dict[str, Any]:
        """Everything that an iteration changes; see `Progress.steps`."""
        return {**super().parts(), "empty_batches": self.empty_batches, "kept": self.kept}

    def make_schedule(self, optimizer: Optimizer) -> LRScheduler:
        """Cosine to zero, or, as published, half the rate when a score stops rising."""
        if self.method.schedule == "published":
            return ReduceLROnPlateau(optimizer, mode="max", factor=0.5, patience=2)
        return super().make_schedule(optimizer)

    def generator_loss(self, noise: Tensor) -> Tensor:
        """The negative divergence of the student from the teacher's target."""
        images = self.hardware.run(self.generator, noise)
        target, weights = self.make_target(self.hardware.run(self.teacher, images))
        return -self.divergence(target, self.hardware.run(self.student, images), weights)

    def synthesise(self, noise: Tensor, *beside: Any) -> DistillationBatch:
        """A batch from noise (B, latent); counts the batches of which the filter passes nothing."""
        batch = super().synthesise(noise)
        self.empty_batches = (self.empty_batches + 1) * (batch.weights.sum() == 0)
        return batch

    def student_loss(self, batch: DistillationBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Divergence + beta * attention, and both terms."""
        logits, maps = self.attend(self.student_taps, batch.images)
        divergence = self.divergence(batch.target, logits, batch.weights)
        attention = attention_loss(batch.attention, maps, batch.weights)
        loss = divergence + self.method.attention_weight * attention
        return loss, {"divergence": divergence, "attention": attention}

    def check(self, terms: dict[str, Tensor], last: bool) -> None:
        """Stop if the loss is not finite; make a fresh generator if the filter passes nothing.

        Raises:
            RunError: If the loss is not finite, or fresh generators do not get past the filter.
        """
        self.require_finite(terms)
        rescues = self.kept["rescues"]
        starving = bool(self.empty_batches >= _CHECK_EVERY)
        if (last and not self.useful_batches) or (starving and rescues == _RESCUES):
            raise RunError(
                f"filter={self.filter}: lets no generated sample through, after "
                f"{rescues} fresh generators; raise filter.gate or filter.entropy, or set null"
            )
        if starving:
            self.kept["rescues"] += 1
            self.empty_batches.zero_()
            self.renew_generator(offset=self.kept["rescues"])

    def observe(self, observed: Observed | None) -> None:
        """Step the schedules, and keep the student if it is the oracle's best so far.

        Args:
            observed: Test accuracies of the student, if this iteration was evaluated.
        """
        retain = observed.retain if observed is not None else None
        _step(self.student_schedule, retain)
        if self.method.generator_steps:
            _step(self.generator_schedule, None if retain is None else 0.0)
        if observed is None:
            return
        if observed.forget == 0 and observed.retain > self.kept["best_retain"]:
            self.kept["best_retain"] = observed.retain
            if self.method.selection == "oracle":
                self.kept["best"] = copy.deepcopy(dict(self.student.state_dict()))

    def restore_best(self) -> bool:
        """Go back to the student that the oracle selected; return whether it selected one."""
        best = self.kept["best"]
        if best is not None:
            self.student.load_state_dict(best)
        return best is not None


def _step(schedule: LRScheduler, score: float | None) -> None:
    """Step a cosine schedule always, a plateau schedule where there is a score."""
    if not isinstance(schedule, ReduceLROnPlateau):
        schedule.step()
    elif score is not None:
        schedule.step(score)
