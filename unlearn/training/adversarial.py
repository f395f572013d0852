"""What methods with an adversarial generator share: settings, networks, batches and steps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

from unlearn.config.schema import CLOSED, Share
from unlearn.errors import RunError
from unlearn.filters.compose import pass_rates
from unlearn.models.attention import AttentionTaps
from unlearn.models.folding import FoldedBatchNorm
from unlearn.optimizers import Adam
from unlearn.protocol import Request, Samples, State
from unlearn.synthesis.generator import ImageGenerator
from unlearn.training.losses import Target, row_divergence, target_probabilities, weighted_mean
from unlearn.training.student import start_student


@dataclass(config=CLOSED, kw_only=True)
class AdversarialSettings:
    """Settings of all methods in which a generator makes the images that a student learns from.

    Args:
        iterations: Iterations of generator steps and student steps, at least 1.
        batch_size: Images of a step, at least 1.
        student_steps: Student steps of an iteration, at least 1.
        generator_steps: Generator steps of an iteration, at least 0.
        latent: Dimension of the generator's noise, at least 1.
        generator_width: Channels of the generator's first convolution, even.
        learning_rate: Learning rate of the student, above 0.
        generator_learning_rate: Learning rate of the generator, above 0.
        clip: Largest norm of a gradient, above 0.
        target: What the student is taught: `masked`, `raw` or `postfilter`
            (`target_probabilities`).
        postfilter_threshold: Forget probability above which `postfilter` acts, in [0, 1].
        start: Share of the teacher in the student's starting weights, from 0 (random) to 1.
        fresh_readout: Whether the forget classes' rows of the last layer start fresh.
        batch_norm: Batch norm of the student: `train`, or `frozen` at the statistics that it
            starts with.
    """

    iterations: PositiveInt
    batch_size: PositiveInt
    student_steps: PositiveInt
    generator_steps: NonNegativeInt
    latent: PositiveInt
    generator_width: Annotated[int, Field(ge=2, multiple_of=2)]
    learning_rate: PositiveFloat
    generator_learning_rate: PositiveFloat
    clip: PositiveFloat
    target: Target
    postfilter_threshold: Share
    start: Share
    fresh_readout: bool
    batch_norm: Literal["train", "frozen", "published"]


class DistillationBatch(NamedTuple):
    """Images of a student step, and what the teacher says of them.

    Args:
        images: (B, C, H, W), normalised.
        logits: Logits of the teacher, (B, K).
        target: Probabilities that the student is taught, (B, K).
        weights: Row weights of the filter, (B,).
        attention: Attention maps of the teacher, (B, H * W) for each layer that is compared.
    """

    images: Tensor
    logits: Tensor
    target: Tensor
    weights: Tensor
    attention: list[Tensor]


class AdversarialTrainer(ExitStack):
    """A student and a generator against a frozen teacher, with their optimisers and schedules.

    A method says what its generator minimises (`generator_loss`) and, where it differs, how a
    batch is made (`make_batch`) and what the student minimises (`student_loss`).

    Args:
        method: The settings.
        request: The teacher, the forget classes, the filter and the hardware.
        layers: Names of the layers whose attention maps `attend` gives, while this is entered.
    """

    stage: ClassVar[str]
    betas: ClassVar[tuple[float, float]] = (0.9, 0.999)  # of the generator's Adam

    def __init__(
        self, method: AdversarialSettings, request: Request, layers: tuple[str, ...] = ()
    ) -> None:
        super().__init__()
        self.settings, self.request = method, request
        self.hardware, self.filter = request.hardware, request.filter
        self.forget = request.forget_mask
        self.teacher = request.teacher
        self.student = start_student(
            request,
            share=method.start,
            fresh_readout=method.fresh_readout,
            frozen=method.batch_norm == "frozen",
        )
        self.teacher_taps, self.student_taps = (
            self.enter_context(AttentionTaps(network, layers))
            for network in (self.teacher, self.student)
        )
        folds = self.hardware.autocast_dtype is not None  # float32 keeps its bits
        self.folded: AbstractContextManager[object] = (
            FoldedBatchNorm(self.student, layers) if folds else nullcontext()
        )
        self.random = torch.Generator().manual_seed(request.seed)
        self.useful_batches = torch.zeros((), device=self.hardware.device)  # of any weight
        self.temperature = 1.0  # of the teacher's and the student's softmax
        self.compiled_generator_loss: Callable[..., Tensor] = self.generator_loss
        self.compiled_make_batch = self.hardware.compile(self.make_batch)
        self.compiled_student_loss = self.hardware.compile(self.student_loss)
        self.student_optimizer = self.make_optimizer(self.student)
        self.student_schedule = self.make_schedule(self.student_optimizer)
        self.renew_generator(offset=0)

    def renew_generator(self, offset: int) -> None:
        """Make a fresh generator, from the request's seed plus an offset, and its optimiser."""
        settings = self.settings
        with torch.random.fork_rng():
            torch.manual_seed(self.request.seed + offset)
            generator = ImageGenerator(
                settings.latent, self.request.shape, settings.generator_width
            )
        self.generator = self.hardware.place(generator)
        self.generator_optimizer = Adam(
            self.generator.parameters(),
            settings.generator_learning_rate,
            betas=self.betas,
            fused=True,
        )
        self.generator_schedule = self.make_schedule(self.generator_optimizer)

    def make_optimizer(self, student: nn.Module) -> Optimizer:
        """The student's optimiser."""
        return Adam(student.parameters(), self.settings.learning_rate, fused=True)

    def make_schedule(self, optimizer: Optimizer) -> LRScheduler:
        """The learning-rate schedule of either optimiser."""
        return CosineAnnealingLR(optimizer, self.settings.iterations)

    def parts(self) -> dict[str, Any]:
        """Everything that an iteration changes; see `Progress.steps`."""
        return {
            "student": self.student,
            "generator": self.generator,
            "student_optimizer": self.student_optimizer,
            "generator_optimizer": self.generator_optimizer,
            "student_schedule": self.student_schedule,
            "generator_schedule": self.generator_schedule,
            "random": self.random,
            "useful_batches": self.useful_batches,
        }

    def draw_noise(self, rows: int | None = None) -> Tensor:
        """Noise (rows, latent) for the generator; a whole batch by default."""
        shape = (self.settings.batch_size if rows is None else rows, self.settings.latent)
        return torch.randn(shape, generator=self.random).to(self.hardware.device)

    def generator_step(self, noise: Tensor) -> None:
        """One step of the generator on noise (B, latent)."""
        self.generator_optimizer.zero_grad()
        weights = list(self.generator.parameters())
        trained = [weight for weight in self.student.parameters() if weight.requires_grad]
        for weight in trained:  # a compiled loss computes every gradient that it can
            weight.requires_grad_(False)
        with self.folded:
            self.compiled_generator_loss(noise).backward(inputs=weights)
        for weight in trained:
            weight.requires_grad_(True)
        nn.utils.clip_grad_norm_(weights, self.settings.clip)
        self.generator_optimizer.step()

    @abstractmethod
    def generator_loss(self, noise: Tensor) -> Tensor:
        """What the generator minimises on noise (B, latent), a scalar."""

    @torch.no_grad()
    def synthesise(self, noise: Tensor, *beside: Any) -> DistillationBatch:
        """A batch for the student, from noise (B, latent) and what `make_batch` takes beside it."""
        batch: DistillationBatch = self.compiled_make_batch(noise, *beside)
        self.useful_batches += batch.weights.sum() > 0
        return batch

    def make_batch(self, noise: Tensor, *beside: Any) -> DistillationBatch:
        """Generated images, and what the teacher answers on them."""
        images = self.hardware.run(self.generator, noise)
        logits, attention = self.attend(self.teacher_taps, images)
        return DistillationBatch(images, logits, *self.make_target(logits), attention)

    def attend(self, taps: AttentionTaps, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Float32 logits (B, K) of a network on images, and its attention maps (B, H * W)."""
        with self.hardware.autocast():
            logits, maps = taps(self.hardware.layout(images))
        return logits.float(), maps

    def make_target(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Target probabilities (B, K) and row weights (B,) from the teacher's logits (B, K)."""
        settings = self.settings
        target = target_probabilities(
            logits, self.forget, settings.target, self.temperature, settings.postfilter_threshold
        )
        return target, self.filter(logits.detach(), self.forget)

    def divergence(self, target: Tensor, logits: Tensor, weights: Tensor) -> Tensor:
        """KL averaged over rows and classes, to which the weights of other terms are tuned."""
        rows = row_divergence(target, logits, self.temperature)
        return weighted_mean(rows, weights) / logits.shape[1]

    def student_step(self, batch: DistillationBatch) -> dict[str, Tensor]:
        """One step of the student on a batch; the terms of its loss before the step."""
        with self.folded:
            loss, terms = self.compiled_student_loss(batch)
        self.student_optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.student.parameters(), self.settings.clip)
        self.student_optimizer.step()
        return {name: value.detach() for name, value in terms.items()}

    def student_loss(self, batch: DistillationBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """What the student minimises, a scalar, and its terms as they are shown."""
        logits = self.hardware.run(self.student, batch.images)
        divergence = self.divergence(batch.target, logits, batch.weights)
        return divergence, {"divergence": divergence}

    def step_schedules(self) -> None:
        """Step the schedules of the networks that are trained."""
        self.student_schedule.step()
        if self.settings.generator_steps:
            self.generator_schedule.step()

    def state(self, iteration: int, batch: DistillationBatch, terms: dict[str, Tensor]) -> State:
        """The state after an iteration; the last one shows samples."""
        total = self.settings.iterations
        samples = Samples.first(batch.images, batch.weights, batch.logits)
        scalars = terms | pass_rates(self.filter, batch.logits, self.forget)
        shown = samples if iteration == total else None
        return State(self.stage, iteration, total, self.student, scalars, shown)

    def require_finite(self, terms: dict[str, Tensor]) -> None:
        """Raise `RunError` if a term of the student's loss is not finite."""
        if not all(torch.isfinite(value) for value in terms.values()):
            raise RunError(
                f"method.learning_rate={self.settings.learning_rate}: the student's loss is not "
                "finite; lower it"
            )

    def require_images(self) -> None:
        """Raise `RunError` if the filter dropped every image of every batch."""
        if not self.useful_batches:
            raise RunError(
                f"filter={self.filter}: no image gets through; raise filter.gate, "
                "filter.entropy or the method's own gate, or set null"
            )
