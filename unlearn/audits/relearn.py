"""The whole curve of relearning at several rates, where AIN is one crossing of it at one rate.

"Zero-Shot Machine Unlearning", Chundawat et al., TIFS 2023, section VI, has the anamnesis index.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor

from unlearn.audits.base import Figure, Findings, Subject
from unlearn.audits.training import Trainer
from unlearn.config import CLOSED
from unlearn.errors import ConfigError


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
