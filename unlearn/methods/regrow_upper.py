"""Upper regrowth: keep the layers that all classes share, and regrow those where a class lives.

    cut T into upper_T(lower(x)) after three quarters of its layers
    X = images of every class, inverted from T; views of them, shifted and mirrored
    F = lower(X), computed once; rows that T gives to a forget class are dropped
    S = upper_S(lower(x)), lower frozen, upper_S = start * upper_T + (1 - start) * fresh
    for each step
        draw rows a, b of F and a coarse 0/1 mask m over positions;  h = m a + (1 - m) b
        t = upper_T(h), z = upper_S(h), r the retain classes, f the forget classes
        w = 0 where T gives f more probability than the gate, else 1
        minimise w (temperature^2 KL(softmax(t_r / temperature) || softmax(z_r / temperature))
                    + sum over f of log(1 + exp(z_f - logsumexp(z_r))))
    shift z_f to `depth` times T's level of absent classes

What is peculiar to a class sits in the last layers. A network that was retrained without the class
has the same lower layers, but for chance. The upper layers start fresh and never see the class, so
that nothing of it is in them. The mixed features are data that a few hundred images could not give.
On real retain images (`method/source=real`) this is the control that tells what the recipe itself
does to a network.
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from unlearn.config.schema import CLOSED, AugmentConfig, Share
from unlearn.data.tensors import Access, Split
from unlearn.errors import ConfigError, RunError
from unlearn.filters.compose import Product, pass_rates
from unlearn.filters.gate import ForgetGate
from unlearn.hardware import ROWS
from unlearn.models.copies import copy_network
from unlearn.models.cut import Cut, cut, list_places
from unlearn.models.network import has_batch_norm, renew_readout
from unlearn.optimizers import AdamW
from unlearn.protocol import Request, State, Steps
from unlearn.synthesis.sources import Examples, Source, WantedClasses
from unlearn.training.augmentation import augment, draw_mask
from unlearn.training.losses import row_divergence, target_probabilities, weighted_mean
from unlearn.training.muon import Muon
from unlearn.training.student import set_forget_level

_SHOWN = 500  # images on which the forget level is measured
_WARMUP = 0.2  # share of the steps in which the learning rate rises


@dataclass(config=CLOSED, kw_only=True)
class UpperRegrowth:
    """Regrow the upper layers of the teacher on mixed features of inverted images.

    Args:
        source: Source of the images: `inverted` from the teacher, or `real` training rows.
        cut: Layer after which the network is cut, `auto`, or None: all layers are regrown.
        kept: For `auto`: largest share of the layers with weights that are kept, in [0, 1].
        start: Share of the teacher in the upper layers' starting weights, from 0 to 1.
        views: Times that each image is shown, shifted and mirrored at random but for the first.
        augment: How views differ: `crop` in pixels, and `flip`.
        memory: Limit on the features that are kept, GB, above 0.
        cells: Numbers of cells a side that a mask may have; none: features are not mixed.
        iterations: Iterations of `student_steps` steps each, at least 1.
        student_steps: Steps of an iteration, at least 1.
        batch_size: Rows of a step, at least 1.
        learning_rate: Largest learning rate of Muon, which networks with batch norm get.
        adam_learning_rate: Largest learning rate of AdamW, which other networks get.
        weight_decay: Weight decay of either, at least 0.
        temperature: Divides the logits of teacher and student, above 0.
        gate: Forget probability above which a row is not taught, in [0, 1], in addition to what
            the filter drops; None: all are taught.
        depth: Level at which the forget classes' logits are put at the end, in units of the
            teacher's level of absent classes (`set_forget_level`), at least 0; 0 leaves them.
    """

    source: Source
    cut: str | None
    kept: Share
    start: Share
    views: PositiveInt
    augment: AugmentConfig
    memory: PositiveFloat
    cells: tuple[PositiveInt, ...]
    iterations: PositiveInt
    student_steps: PositiveInt
    batch_size: Annotated[int, Field(ge=2)]
    learning_rate: PositiveFloat
    adam_learning_rate: PositiveFloat
    weight_decay: NonNegativeFloat
    temperature: PositiveFloat
    gate: Share | None
    depth: NonNegativeFloat

    @property
    def access(self) -> Access:
        """No data, or the retain classes' images for the control."""
        return self.source.access("retain")

    def check_network(self, network: nn.Module) -> None:
        """Raise `ConfigError` if the network cannot be cut at the layer that is named."""
        if self.cut not in (None, "auto"):
            places = list_places(network)
            if self.cut not in places:
                raise ConfigError("method.cut", self.cut, f"allowed are {', '.join(places)}")

    def unlearn(self, request: Request, data: Split | None) -> Steps:
        """Yield the state after each step of the source and each iteration; see `Method`."""
        random = torch.Generator().manual_seed(request.seed)
        wanted: WantedClasses = "all" if data is None else "retain"
        examples = yield from self.source.examples(request, data, wanted, random)
        place = self.choose_cut(request.teacher)
        trainer = UpperTrainer(self, request, place, random)
        trainer.keep_features(examples)
        facts = {"cut": place or "none", "features": len(trainer.features)}
        for iteration in request.progress.steps("regrow", self.iterations, trainer.parts):
            for _ in range(self.student_steps):
                terms = trainer.step()
            if iteration == self.iterations:
                trainer.finish(examples, terms)
            yield trainer.state(iteration, terms, facts)

    def choose_cut(self, network: nn.Module) -> str | None:
        """Return the layer to cut after; None if all layers are to be regrown."""
        if self.cut != "auto":
            return self.cut
        below = [name for name, share in list_places(network).items() if share <= self.kept]
        return below[-1] if below else None


class UpperTrainer:
    """A student whose upper layers are trained on features, with optimiser and schedule.

    Args:
        method: The settings.
        request: The teacher, the forget classes, the filter and the hardware.
        place: Layer after which both networks are cut; None: all is upper.
        random: Draws views, rows and masks.
    """

    def __init__(
        self, method: UpperRegrowth, request: Request, place: str | None, random: torch.Generator
    ) -> None:
        self.method, self.request, self.random = method, request, random
        self.hardware, self.forget = request.hardware, request.forget_mask
        self.filter = request.filter
        if method.gate is not None:
            self.filter = Product({"filter": self.filter, "gate": ForgetGate(method.gate)})
        self.student = copy_network(request.teacher).requires_grad_(False)
        self.taught, own = (
            cut(network, place) if place else Cut("", nn.Identity(), network)
            for network in (request.teacher, self.student)
        )
        self.upper = own.upper
        self._start()
        self.features = torch.empty(0)
        self.useful = torch.zeros((), device=self.hardware.device)  # weight of all rows so far
        self.optimizer = self._optimizer()
        total = method.iterations * method.student_steps
        self.schedule = LambdaLR(self.optimizer, lambda step: _rate(step / total))

    def _start(self) -> None:
        """Mix fresh weights into the upper layers, and let them be trained."""
        fresh = self.hardware.place(self.request.fresh())
        new, share = dict(fresh.named_parameters()), self.method.start
        trained = {id(weight) for weight in self.upper.parameters()}
        with torch.no_grad():
            for name, weight in self.student.named_parameters():
                if id(weight) in trained:
                    weight.copy_(share * weight + (1 - share) * new[name]).requires_grad_(True)
        if share == 0:
            for module in self.upper.modules():
                if isinstance(module, nn.modules.batchnorm._NormBase):
                    module.reset_running_stats()
        renew_readout(self.student, fresh, self.request.forget, self.request.num_classes)

    def _optimizer(self) -> Optimizer:
        method = self.method
        if has_batch_norm(self.upper):
            return Muon(self.upper, method.learning_rate, weight_decay=method.weight_decay)
        trained = list(self.upper.parameters())
        return AdamW(trained, method.adam_learning_rate, weight_decay=method.weight_decay)

    def parts(self) -> dict[str, Any]:
        """Everything that an iteration changes; see `Progress.steps`."""
        return {
            "student": self.student,
            "optimizer": self.optimizer,
            "schedule": self.schedule,
            "random": self.random,
            "useful": self.useful,
        }

    @torch.no_grad()
    def keep_features(self, examples: Examples) -> None:
        """Compute the features of all views, within the memory limit, and keep those to teach."""
        kept, room = list[Tensor](), self.method.memory * 1e9
        for view in range(self.method.views):
            for images in examples.images.split(ROWS):
                if view:
                    images = augment(images, self.random, self.method.augment)
                with self.hardware.autocast():
                    features = self.taught.lower(self.hardware.layout(images))
                    logits = self.taught.upper(features).float()
                features = features[~self.forget[logits.argmax(dim=1)]]
                features = features.to(self.hardware.autocast_dtype or features.dtype)
                room -= features.nbytes
                if room < 0 and kept:
                    break
                kept.append(features)
        self.features = torch.cat(kept)
        if not len(self.features):
            raise RunError("method=regrow_upper: the teacher gives every image to a forget class")

    def step(self) -> dict[str, Tensor]:
        """One step of the student on mixed features; the terms of its loss before the step."""
        features = self.draw()
        with torch.no_grad():
            logits = self.hardware.run(self.taught.upper, features)
            weights = self.filter(logits, self.forget)
            self.useful += weights.sum()
        self.upper.train()
        terms = self.terms(logits, self.hardware.run(self.upper, features), weights)
        self.optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        self.optimizer.step()
        self.schedule.step()
        rates = pass_rates(self.filter, logits, self.forget)
        return {name: term.detach() for name, term in terms.items()} | rates

    def draw(self) -> Tensor:
        """A batch of mixed features."""
        size = self.method.batch_size
        one, other = torch.randint(len(self.features), (2, size), generator=self.random)
        features = self.features[one.to(self.features.device)]
        mask = draw_mask(features, self.method.cells, self.random)
        if mask is None:
            return features
        return torch.where(mask, features, self.features[other.to(self.features.device)])

    def terms(self, taught: Tensor, logits: Tensor, weights: Tensor) -> dict[str, Tensor]:
        """The divergence over the retain classes, and what pushes the forget logits down.

        Args:
            taught: Logits of the teacher, (B, K).
            logits: Logits of the student, (B, K).
            weights: Row weights, (B,).
        """
        temperature = self.method.temperature
        masked = logits.masked_fill(self.forget, -torch.inf)
        target = target_probabilities(taught, self.forget, "masked", temperature)
        retain = ~self.forget
        divergence = row_divergence(target[:, retain], logits[:, retain], temperature)
        above = logits[:, self.forget] - masked.logsumexp(dim=1, keepdim=True)
        return {
            "divergence": temperature**2 * weighted_mean(divergence, weights),
            "forget": weighted_mean(F.softplus(above).sum(dim=1), weights),
        }

    def finish(self, examples: Examples, terms: dict[str, Tensor]) -> None:
        """Check the result, and put the forget logits at their level.

        Raises:
            RunError: If the loss is not finite, or no row was taught.
        """
        if not torch.isfinite(terms["divergence"]):
            rate = self.method.learning_rate
            raise RunError(f"method.learning_rate={rate}: the loss is not finite; lower it")
        if not self.useful:
            raise RunError(
                f"filter={self.filter}: no row gets through; raise filter.gate, filter.entropy "
                "or the method's own gate, or set null"
            )
        if self.method.depth:
            set_forget_level(
                self.student,
                self.request.teacher,
                examples.first(_SHOWN).images,
                self.request.forget,
                self.request.num_classes,
                self.method.depth,
                self.hardware,
            )

    def state(self, iteration: int, terms: dict[str, Tensor], facts: dict[str, Any]) -> State:
        """The state after an iteration."""
        return State("regrow", iteration, self.method.iterations, self.student, terms, facts=facts)


def _rate(done: float) -> float:
    """Factor of the learning rate: up to 1 and down to 0, both linearly."""
    return min(done / _WARMUP + 1e-3, (1 - done) / (1 - _WARMUP))
