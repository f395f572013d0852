"""Relearning: how fast a network learns the forget classes again.

The anamnesis index (AIN): "Zero-Shot Machine Unlearning", Chundawat et al., TIFS 2023, section VI.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveFloat, PositiveInt, ValidationInfo, field_validator
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError
from torch import Tensor, nn

from unlearn.config.schema import CLOSED
from unlearn.data.tensors import Split
from unlearn.evaluation.accuracy import measure_accuracy
from unlearn.evaluation.audit import AuditedNetwork, AuditFigure, AuditFigures
from unlearn.evaluation.base import FigureName, Figures, MetricContext, Models
from unlearn.hardware import Hardware
from unlearn.models.copies import copy_network
from unlearn.optimizers import Adam

_ROWS = 128  # rows in one forward pass of `reaches_accuracy`
_REPEAT_SEED = 7919  # difference of the seeds of two repeats


class Trainer:
    """Trains a network in place with Adam on the cross-entropy, one batch a step.

    Args:
        network: In the mode in which it is to be trained.
        learning_rate: Learning rate of Adam.
        hardware: Precision and memory format.
    """

    def __init__(self, network: nn.Module, learning_rate: float, hardware: Hardware) -> None:
        self._network, self._hardware = network, hardware
        self._optimizer = Adam(network.parameters(), learning_rate, fused=True)

    def step(self, images: Tensor, labels: Tensor) -> None:
        """Take one step on images (B, C, H, W) and labels (B,)."""
        with torch.enable_grad(), self._hardware.autocast():
            logits = self._network(self._hardware.layout(images))
            loss = F.cross_entropy(logits.float(), labels)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()


def draw_batches(split: Split, size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches of a split without end, each epoch in another random order.

    Args:
        split: Rows to draw from.
        size: Rows a batch.
        seed: Seed of the orders.
    """
    random = torch.Generator().manual_seed(seed)
    while True:
        yield from split.batches(size, random)


@dataclass(config=CLOSED)
class Relearn:
    """AIN = steps of the unlearned model / steps of the retrained model.

    Steps are batches of the whole training set on which a copy is trained, until its test
    accuracy on the forget classes reaches (1 - margin) of the original's. All models get the same
    batches. 1 is ideal; far below 1 the class is still known, far above 1 the class was suppressed
    (Streisand effect).

    Args:
        learning_rate: Learning rate of Adam.
        batch_size: Rows a step.
        margin: The paper's alpha, in [0, 1).
        max_steps: Steps at which counting stops; a count that reaches it is censored.
        repeats: Number of batch orders over which the counts are averaged.
    """

    learning_rate: PositiveFloat
    batch_size: PositiveInt
    margin: Annotated[float, Field(ge=0, lt=1)]
    max_steps: PositiveInt
    repeats: PositiveInt
    needs_data: ClassVar[bool] = True
    figure_names: ClassVar[Mapping[str, FigureName]] = {
        "ain": FigureName("AIN"),
        "unlearned_steps": FigureName("relearn", "steps"),
        "retrained_steps": FigureName("retrained relearn", "steps"),
    }

    def __call__(self, models: Models, context: MetricContext) -> Figures:
        """Count the steps of the retrained and of the unlearned model.

        Returns:
            `target`: accuracy on the forget classes to reach, percent; `retrained_steps` and
            `unlearned_steps`: mean counts; `ain`: their ratio, None where the retrained count is
            censored or 0; `resolution`: smallest step of `ain`, 1 / (retrained_steps * repeats);
            `censored`: whether any count reached `max_steps`, so that its mean is a lower bound.
        """
        data, request, retrained = context.data, context.request, models.retrained
        assert data is not None
        assert retrained is not None
        test = data.test.only(request.forget)
        original = measure_accuracy(models.original.eval(), test, request.forget, request.hardware)
        assert original["forget"] is not None
        target = (1 - self.margin) * original["forget"]

        def count_steps(network: nn.Module) -> list[int]:
            return [
                self._count(network, data.train, test, target, context, repeat)
                for repeat in range(self.repeats)
            ]

        shared = context.measurements.get_or_measure(
            [self, target], [retrained], lambda: count_steps(retrained)
        )
        counts = {"retrained": shared, "unlearned": count_steps(models.unlearned)}
        steps = {name: sum(found) / len(found) for name, found in counts.items()}
        censored = {name: max(found) >= self.max_steps for name, found in counts.items()}
        usable = steps["retrained"] > 0 and not censored["retrained"]
        return {
            "target": target,
            "retrained_steps": steps["retrained"],
            "unlearned_steps": steps["unlearned"],
            "ain": steps["unlearned"] / steps["retrained"] if usable else None,
            "resolution": 1 / (steps["retrained"] * self.repeats) if usable else None,
            "censored": any(censored.values()),
        }

    def _count(
        self,
        network: nn.Module,
        train: Split,
        test: Split,
        target: float,
        context: MetricContext,
        repeat: int,
    ) -> int:
        """Steps until a copy reaches the target, at most `max_steps`."""
        request = context.request
        network = copy_network(network).requires_grad_(True)
        if reaches_accuracy(network, test, target, request.hardware):
            return 0
        trainer = Trainer(network, self.learning_rate, request.hardware)
        batches = draw_batches(train, self.batch_size, request.seed + _REPEAT_SEED * repeat)
        for step, batch in enumerate(islice(batches, self.max_steps), 1):
            network.train()
            trainer.step(*batch)
            if reaches_accuracy(network, test, target, request.hardware):
                return step
        return self.max_steps


@torch.no_grad()
def reaches_accuracy(network: nn.Module, split: Split, target: float, hardware: Hardware) -> bool:
    """Return whether a network reaches an accuracy on a split.

    It is asked after each step of training, and the answer is mostly no. Therefore it stops as
    soon as too many rows are wrong.

    Args:
        network: Set to eval mode.
        split: Labelled rows.
        target: Accuracy to reach, percent.
        hardware: Precision and memory format.
    """
    network.eval()
    possible = len(split)
    needed = math.ceil(target * len(split) / 100 - 1e-9)  # rounding must not ask for one more
    parts = zip(split.images.split(_ROWS), split.labels.split(_ROWS), strict=True)
    for images, labels in parts:
        with hardware.autocast():
            logits = network(hardware.layout(images))
        possible -= int((logits.float().argmax(dim=1) != labels).sum())
        if possible < needed:
            return False
    return True


@dataclass(config=CLOSED)
class RelearnCurves:
    """D_f while a copy is trained on all classes; all networks get the same batches.

    Args:
        learning_rates: Learning rates of Adam; for each, another copy is trained.
        batch_size: Training rows a step.
        steps: Steps of training.
        every: Steps between two measurements of D_f, 1 to `steps`.
        target: D_f in percent at which the classes count as relearned.
    """

    learning_rates: tuple[PositiveFloat, ...]
    batch_size: PositiveInt
    steps: PositiveInt
    every: int
    target: Annotated[float, Field(ge=0, le=100)]
    needs_judge: ClassVar[bool] = False

    @field_validator("every")
    @classmethod
    def _check_every(cls, every: int, info: ValidationInfo) -> int:
        steps = info.data.get("steps", every)  # absent if it is out of range itself
        if not 1 <= every <= steps:
            raise PydanticCustomError("every", "must be 1 to {steps}, the steps", {"steps": steps})
        return every

    @property
    def figure_names(self) -> Mapping[str, FigureName]:
        """Names of the numbers."""
        names = {}
        for rate in self.learning_rates:
            names[f"{rate:g}/area"] = FigureName(f"relearn area at {rate:g}", "%")
            names[f"{rate:g}/steps"] = FigureName(f"relearn steps at {rate:g}", "steps")
        return names

    def __call__(self, audited: AuditedNetwork, peers: Sequence[AuditedNetwork]) -> AuditFigures:
        """Train copies and measure D_f.

        Returns:
            For each learning rate R, `R/area`: mean of D_f over the measurements, percent;
            `R/steps`: steps to the target, `steps` if it is not reached; `R/curve`: D_f before
            training and at each measurement, percent.
        """
        found: dict[str, AuditFigure | list[float]] = {}
        for rate in self.learning_rates:
            curve = self._measure_curve(audited, rate)
            trained = curve[1:]
            reached = [index for index, accuracy in enumerate(curve) if accuracy >= self.target]
            steps = self.every * reached[0] if reached else self.steps
            resolution = audited.forget_resolution / len(trained)
            found[f"{rate:g}/area"] = AuditFigure(sum(trained) / len(trained), resolution)
            found[f"{rate:g}/steps"] = AuditFigure(steps, self.every)
            found[f"{rate:g}/curve"] = curve
        return found

    def _measure_curve(self, audited: AuditedNetwork, rate: float) -> list[float]:
        context, network = audited.context, audited.copy_to_train()
        trainer = Trainer(network, rate, context.request.hardware)
        batches = draw_batches(context.data.train, self.batch_size, context.request.seed)
        curve = [audited.measure_forget_accuracy()]
        for step, batch in enumerate(islice(batches, self.steps), 1):
            network.train()
            trainer.step(*batch)
            if step % self.every == 0:
                curve.append(audited.measure_forget_accuracy(network.eval()))
        return curve
