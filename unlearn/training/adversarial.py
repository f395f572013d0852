"""What methods with an adversarial generator share: networks, noise, lessons, steps and states."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

from unlearn.errors import RunError
from unlearn.filters.compose import pass_rates
from unlearn.models.members import Member, Members, each
from unlearn.protocol import Request, Samples, State
from unlearn.synthesis.generator import ImageGenerator
from unlearn.training.losses import Target, row_divergence, target_probabilities, weighted_mean
from unlearn.training.student import start_student


@dataclass(frozen=True, kw_only=True)
class AdversarialSettings:
    """The settings of all methods in which a generator makes what a student learns from.

    Args:
        iterations: each of generator steps and student steps.
        batch_size: images a step.
        student_steps: an iteration.
        generator_steps: an iteration.
        latent: dimension of the generator's noise.
        generator_width: channels of the generator's first convolution.
        learning_rate: of the student.
        generator_learning_rate: of the generator.
        clip: largest norm of a gradient.
        target: what the student is taught: masked, raw or postfilter (`target_probabilities`).
        postfilter_threshold: forget mass above which `postfilter` acts.
        start: the teacher's share in the student's starting weights, 0 random, 1 the teacher.
        fresh_readout: whether the forget classes' rows of the last layer start fresh.
        batch_norm: the student's: `train`, or `frozen` at the statistics it starts with.
    """

    iterations: int
    batch_size: int
    student_steps: int
    generator_steps: int
    latent: int
    generator_width: int
    learning_rate: float
    generator_learning_rate: float
    clip: float
    target: Target
    postfilter_threshold: float
    start: float
    fresh_readout: bool
    batch_norm: Literal["train", "frozen", "published"]


class DistillationBatch(NamedTuple):
    """Images of a student step, and everything of the teacher's that the student is taught.

    Args:
        images: (B, C, H, W), normalised.
        logits: the teacher's on them, (B, K).
        target: the probabilities to learn, (B, K).
        weights: of the rows, (B,).
        attention: the teacher's maps (B, H * W) of each layer compared, if any is.
    """

    images: Tensor
    logits: Tensor
    target: Tensor
    weights: Tensor
    attention: list[Tensor]


class AdversarialTrainer(ExitStack):
    """Students and generators of all requests with their optimisers; tensors are (M, B, ...).

    A method says what its generator minimises (`generator_loss`) and, where it differs, how a
    lesson is made and what the student minimises.
    """

    stage: ClassVar[str]
    betas: ClassVar[tuple[float, float]] = (0.9, 0.999)  # of the generator's Adam

    def __init__(
        self, method: AdversarialSettings, requests: Sequence[Request], layers: tuple[str, ...] = ()
    ) -> None:
        super().__init__()
        self.settings, self.requests = method, requests
        self.hardware, self.filter = requests[0].hardware, requests[0].filter
        self.teachers = self.members([request.teacher for request in requests], layers)
        self.students = self.members([self.start(request) for request in requests], layers)
        self.randoms = [torch.Generator().manual_seed(request.seed) for request in requests]
        self.forget = torch.stack([request.forget_mask for request in requests])
        self.fed = torch.zeros(len(requests), device=self.hardware.device)  # lessons of any weight
        self.temperature = 1.0  # of the teacher's and the student's softmax
        self.generator_losses: Callable[..., Tensor] = self.generator_loss
        self.lessons = self.hardware.compile(self.lesson)
        self.student_losses = self.hardware.compile(self.student_loss)
        self.student_optimizer = self.optimizer_of(self.students)
        self.student_schedule = self.schedule_of(self.student_optimizer)
        self.new_generators(seed=0)

    def members(self, networks: list[nn.Module], layers: tuple[str, ...] = ()) -> Members:
        stacked = self.hardware.stacks
        members = Members(networks, self.hardware, stacked=stacked, layers=layers)
        return self.enter_context(members)

    def start(self, request: Request) -> nn.Module:
        settings = self.settings
        frozen = settings.batch_norm == "frozen"
        return start_student(
            request, share=settings.start, fresh_readout=settings.fresh_readout, frozen=frozen
        )

    def new_generators(self, seed: int) -> None:
        """Fresh generators, by this seed on top of each request's, and their optimiser."""
        settings = self.settings
        generators = []
        for request in self.requests:
            with torch.random.fork_rng():
                torch.manual_seed(request.seed + seed)
                generators.append(
                    ImageGenerator(settings.latent, request.shape, settings.generator_width)
                )
        self.generators = self.members([self.hardware.place(g) for g in generators])
        self.generator_optimizer = Adam(
            self.generators.parameters(),
            settings.generator_learning_rate,
            betas=self.betas,
            fused=True,
        )
        self.generator_schedule = self.schedule_of(self.generator_optimizer)

    def optimizer_of(self, students: Members) -> Optimizer:
        return Adam(students.parameters(), self.settings.learning_rate, fused=True)

    def schedule_of(self, optimizer: Optimizer) -> LRScheduler:
        return CosineAnnealingLR(optimizer, self.settings.iterations)

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
            "fed": self.fed,
        }

    def noise(self, rows: int | None = None) -> Tensor:
        """(M, rows, latent), by default of a whole batch; each member's from its own seed."""
        shape = (self.settings.batch_size if rows is None else rows, self.settings.latent)
        noises = [torch.randn(shape, generator=random) for random in self.randoms]
        return torch.stack(noises).to(self.hardware.device)

    def generator_step(self, noise: Tensor) -> None:
        groups = [self.generators, self.students, self.teachers]
        losses = each(self.generator_losses, groups, noise, self.forget)
        self.generator_optimizer.zero_grad()
        losses.sum().backward(inputs=self.generators.parameters())
        self.generators.clip_gradients(self.settings.clip)
        self.generator_optimizer.step()

    @abstractmethod
    def generator_loss(
        self, generator: Member, student: Member, teacher: Member, noise: Tensor, forget: Tensor
    ) -> Tensor:
        """What the generator minimises on noise (B, latent), a scalar."""

    @torch.no_grad()
    def synthesise(self, noise: Tensor, *beside: Any) -> DistillationBatch:
        """A lesson from noise (M, B, latent), and what `lesson` takes `beside` it."""
        groups = [self.generators, self.teachers]
        lesson: DistillationBatch = each(self.lessons, groups, noise, self.forget, *beside)
        self.fed += lesson.weights.sum(dim=1) > 0
        return lesson

    def lesson(
        self, generator: Member, teacher: Member, noise: Tensor, forget: Tensor, *beside: Any
    ) -> DistillationBatch:
        images = generator(noise)
        logits, attention = teacher.attend(images)
        return DistillationBatch(images, logits, *self.ask(logits, forget), attention)

    def ask(self, logits: Tensor, forget: Tensor) -> tuple[Tensor, Tensor]:
        """The target and the row weights that the teacher's logits give."""
        settings = self.settings
        target = target_probabilities(
            logits, forget, settings.target, self.temperature, settings.postfilter_threshold
        )
        return target, self.filter(logits.detach(), forget)

    def divergence(self, target: Tensor, logits: Tensor, weights: Tensor) -> Tensor:
        """KL averaged over rows and classes, to which the weights of other terms are tuned."""
        rows = row_divergence(target, logits, self.temperature)
        return weighted_mean(rows, weights) / logits.shape[1]

    def student_step(self, lesson: DistillationBatch) -> dict[str, Tensor]:
        """One step on a lesson; the terms of the loss before it, (M,) each."""
        losses, terms = each(self.student_losses, [self.students], lesson)
        self.student_optimizer.zero_grad()
        losses.sum().backward()
        self.students.clip_gradients(self.settings.clip)
        self.student_optimizer.step()
        return {name: values.detach() for name, values in terms.items()}

    def student_loss(
        self, student: Member, lesson: DistillationBatch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What the student minimises, a scalar, and its terms as they are shown."""
        divergence = self.divergence(lesson.target, student(lesson.images), lesson.weights)
        return divergence, {"divergence": divergence}

    def anneal(self) -> None:
        """Step the schedules of what is stepped."""
        self.student_schedule.step()
        if self.settings.generator_steps:
            self.generator_schedule.step()

    def states(
        self, iteration: int, lesson: DistillationBatch, terms: dict[str, Tensor]
    ) -> list[State]:
        """What each request's observers see; the samples with the last iteration."""
        total = self.settings.iterations
        found = []
        for index, student in enumerate(self.students.unstacked()):
            images, logits, _, weights = (values[index] for values in lesson[:4])
            samples = Samples.first(images, weights, logits)
            rates = pass_rates(self.filter, logits, self.forget[index])
            figures = {name: values[index] for name, values in terms.items()} | rates
            last = samples if iteration == total else None
            found.append(State(self.stage, iteration, total, student, figures, last))
        return found

    def require_finite(self, terms: dict[str, Tensor]) -> None:
        """Raise `RunError` if no number is left to learn with."""
        if not all(torch.isfinite(values).all() for values in terms.values()):
            raise RunError(
                f"method.learning_rate={self.settings.learning_rate}: the student's loss is not "
                "finite; lower it"
            )

    def require_fed(self) -> None:
        """Raise `RunError` if a student was taught nothing."""
        if not self.fed.all():
            raise RunError(
                f"filter={self.filter}: no image gets through; raise filter.gate, "
                "filter.entropy or the method's own gate, or set null"
            )
