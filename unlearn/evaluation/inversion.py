"""White-box inversion: images of a class, found by gradient ascent on a network.

"Zero-Shot Machine Unlearning", Chundawat et al., TIFS 2023, section VI.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.optim import Adam

from unlearn.config.schema import CLOSED
from unlearn.evaluation.audit import Figure, Findings, Subject
from unlearn.protocol import Request
from unlearn.synthesis.inversion import total_variation


def invert_classes(
    network: nn.Module,
    request: Request,
    labels: Tensor,
    *,
    steps: int,
    learning_rate: float,
    tv_weight: float,
    seed: int,
) -> Tensor:
    """Images (N, C, H, W), normalised, that raise the probability of their labels.

    Gradient ascent on the class's log-probability from noise with a total-variation prior
    ("Zero-Shot Machine Unlearning", section VI).

    Args:
        network: in eval mode; not changed.
        request: shape and bounds.
        labels: class of each image (N,), on the device.
        steps: of Adam.
        learning_rate: of Adam.
        tv_weight: of the total variation.
        seed: of the starts, which depend on nothing else.
    """
    random = torch.Generator().manual_seed(seed)
    images = torch.randn(len(labels), *request.shape, generator=random).to(labels.device)
    images = images.clamp(request.lowest, request.highest).requires_grad_()
    optimizer = Adam([images], learning_rate)
    for _ in range(steps):
        loss = F.cross_entropy(network(images), labels) + tv_weight * total_variation(images)
        optimizer.zero_grad()
        loss.backward(inputs=[images])
        optimizer.step()
        with torch.no_grad():
            images.clamp_(request.lowest, request.highest)
    return images.detach()


@dataclass(config=CLOSED)
class InversionAudit:
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
        images = invert_classes(
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
