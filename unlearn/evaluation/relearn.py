"""Relearning: the anamnesis index (AIN) and whole relearning curves.

"Zero-Shot Machine Unlearning", Chundawat et al., TIFS 2023, section VI.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.optim import Adam

from unlearn.config.schema import CLOSED
from unlearn.data.tensors import Data, Split
from unlearn.errors import ConfigError
from unlearn.evaluation.audit import Figure, Findings, Subject
from unlearn.evaluation.base import Figures, MetricContext, Models, measure_accuracy
from unlearn.hardware import Hardware

_PART = 128  # rows looked at before asking whether the target is still within reach


@dataclass(config=CLOSED)
class Relearn:
    """AIN = steps(unlearned) / steps(retrained).

    Steps are mini-batches of Adam on the whole training set until the test accuracy on the
    forget classes reaches (1 - margin) of the original's. All models see the same batches.
    Copies are trained. 1 is ideal, well below 1 is residual knowledge, well above 1 is the
    Streisand effect.

    Args:
        learning_rate: of Adam.
        batch_size: rows a step.
        margin: alpha, relative, in [0, 1).
        max_steps: where counting stops; a count that reaches it is censored.
        repeats: orders of the batches over which the counts are averaged.
    """

    learning_rate: PositiveFloat
    batch_size: PositiveInt
    margin: Annotated[float, Field(ge=0, lt=1)]
    max_steps: PositiveInt
    repeats: PositiveInt
    needs_data: bool = True

    def __call__(self, models: Models, setting: MetricContext) -> Figures:
        """Count for the retrained and the unlearned model; see `Metric`.

        Returns:
            `target`: forget accuracy to reach, percent; `retrained_steps`, `unlearned_steps`:
            mean counts; `resolution`: AIN's step, 1 / (retrained_steps * repeats); `ain`: None
            where the retrained count is censored or 0; `censored`: whether any count hit
            `max_steps`, which makes the mean a lower bound.
        """
        data, request = setting.data, setting.request
        assert data is not None
        assert models.retrained is not None
        forgotten = data.test.only(request.forget)
        original = measure_accuracy(
            models.original.eval(), forgotten, request.forget, request.hardware
        )
        assert original["forget"] is not None
        target = (1 - self.margin) * original["forget"]

        def counted(network: nn.Module) -> list[int]:
            return [
                self._steps(network, data, forgotten, target, setting, repeat)
                for repeat in range(self.repeats)
            ]

        retrained = models.retrained
        known = setting.shelf.kept([self, target], [retrained], lambda: counted(retrained))
        counts = {"retrained": known, "unlearned": counted(models.unlearned)}
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

    def _steps(
        self,
        network: nn.Module,
        data: Data,
        forgotten: Split,
        target: float,
        setting: MetricContext,
        repeat: int,
    ) -> int:
        hardware = setting.request.hardware
        network = copy.deepcopy(network).requires_grad_(True)
        if _reaches(network, forgotten, target, hardware):
            return 0
        optimizer = Adam(network.parameters(), self.learning_rate, fused=True)
        order = torch.Generator().manual_seed(setting.request.seed + 7919 * repeat)
        done = 0
        while True:
            for images, labels in data.train.batches(self.batch_size, order):
                network.train()
                with hardware.autocast():
                    logits = network(hardware.layout(images))
                optimizer.zero_grad()
                F.cross_entropy(logits.float(), labels).backward()
                optimizer.step()
                done += 1
                reached = _reaches(network, forgotten, target, hardware)
                if reached or done == self.max_steps:
                    return done


@torch.no_grad()
def _reaches(network: nn.Module, split: Split, target: float, hardware: Hardware) -> bool:
    """Whether a network has `target` percent of a split right.

    Asked after every step, and mostly answered no: it looks at no more rows than it takes to
    know that too many are wrong.
    """
    network.eval()
    possible = len(split)
    needed = math.ceil(target * len(split) / 100 - 1e-9)  # rounding must not ask for one more
    parts = zip(split.images.split(_PART), split.labels.split(_PART), strict=True)
    for images, labels in parts:
        with hardware.autocast():
            logits = network(hardware.layout(images))
        possible -= int((logits.float().argmax(dim=1) != labels).sum())
        if possible < needed:
            return False
    return True


class Trainer:
    """Adam on cross-entropy, a batch at a time, in place.

    Args:
        network: in the mode in which it is to be trained.
        learning_rate: of Adam.
        hardware: precision and layout.
    """

    def __init__(self, network: nn.Module, learning_rate: float, hardware: Hardware) -> None:
        self._network, self._hardware = network, hardware
        self._optimizer = Adam(network.parameters(), learning_rate, fused=True)

    def step(self, images: Tensor, labels: Tensor) -> None:
        """One step on images (B, C, H, W) and labels (B,)."""
        with torch.enable_grad(), self._hardware.autocast():
            logits = self._network(self._hardware.layout(images))
            loss = F.cross_entropy(logits.float(), labels)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()


@dataclass(config=CLOSED)
class RelearnCurves:
    """D_f while a copy is trained on all classes; every network sees the same batches.

    Args:
        learning_rates: of Adam, each on a copy of its own.
        batch_size: training rows a step.
        steps: after which training stops.
        every: steps between looks at D_f.
        target: D_f, percent, at which the class counts as relearned.
    """

    learning_rates: tuple[PositiveFloat, ...]
    batch_size: PositiveInt
    steps: PositiveInt
    every: int
    target: Annotated[float, Field(ge=0, le=100)]
    needs_judge: bool = False

    def __post_init__(self) -> None:
        """Refuse curves without a look."""
        if not 1 <= self.every <= self.steps:
            key = "evaluation.audits.relearn.every"
            raise ConfigError(key, self.every, f"must be 1 to {self.steps}, the steps")

    def __call__(self, subject: Subject, peers: Sequence[Subject]) -> Findings:
        """For each rate r `r/area`, the mean of D_f over the looks; `r/steps` to the target,
        `steps` if it is not met; and `r/curve`, D_f before training and at each look.
        """
        found: dict[str, Figure | list[float]] = {}
        for rate in self.learning_rates:
            curve = self._curve(subject, rate)
            looks = curve[1:]
            met = [index for index, right in enumerate(curve) if right >= self.target]
            steps = self.every * met[0] if met else self.steps
            step = subject.resolution / len(looks)
            found[f"{rate:g}/area"] = Figure(sum(looks) / len(looks), step)
            found[f"{rate:g}/steps"] = Figure(steps, self.every)
            found[f"{rate:g}/curve"] = curve
        return found

    def _curve(self, subject: Subject, rate: float) -> list[float]:
        network = subject.to_train()
        trainer = Trainer(network, rate, subject.bench.request.hardware)
        curve = [subject.right()]
        for step, (images, labels) in enumerate(self._batches(subject), 1):
            network.train()
            trainer.step(images, labels)
            if step % self.every == 0:
                curve.append(subject.right(network.eval()))
        return curve

    def _batches(self, subject: Subject) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.Generator().manual_seed(subject.bench.request.seed)
        done = 0
        while True:
            for batch in subject.bench.data.train.batches(self.batch_size, order):
                yield batch
                done += 1
                if done == self.steps:
                    return
