"""Whether a white-box attacker can draw the forgotten class out of a network.

"Zero-Shot Machine Unlearning", Chundawat et al., TIFS 2023, section VI, shows the pictures; here a
judge, a network that knows all classes and that nobody attacked, says what is in them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from unlearn.audits.base import Figure, Findings, Subject
from unlearn.config import CLOSED
from unlearn.evaluation.attack import inverted


@dataclass(config=CLOSED)
class Inversion:
    """What the judge sees in images that were inverted from a network for the forget classes.

    Args:
        images: inverted from each network, from the same starts.
        steps: of the inversion, and the other keys of `inverted`.
        learning_rate: of the inversion.
        tv_weight: of the total variation.
    """

    images: PositiveInt
    steps: NonNegativeInt
    learning_rate: PositiveFloat
    tv_weight: NonNegativeFloat
    needs_judge: bool = True

    def __call__(self, subject: Subject, peers: Sequence[Subject]) -> Findings:
        """`named`: percent that the judge names as the class that was aimed at; `probability`:
        what it gives that class, mean, percent.
        """
        bench = subject.bench
        assert bench.judge is not None
        forget = torch.tensor(bench.request.forget, device=bench.request.hardware.device)
        labels = forget.repeat(-(-self.images // len(forget)))[: self.images]
        images = inverted(
            subject.network,
            bench.request,
            labels,
            steps=self.steps,
            learning_rate=self.learning_rate,
            tv_weight=self.tv_weight,
            seed=bench.request.seed,
        )
        with torch.no_grad():
            seen = bench.judge(images).float().softmax(dim=1)
        named = (seen.argmax(dim=1) == labels).double().mean().item()
        given = seen.gather(1, labels[:, None]).double().mean().item()
        return {
            "named": Figure(100 * named, 100 / self.images),
            "probability": Figure(100 * given),
        }
