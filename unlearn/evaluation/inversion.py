"""White-box inversion: images of a class, found by gradient descent on a network's input.

"Zero-Shot Machine Unlearning", Chundawat et al., TIFS 2023, section VI.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from unlearn.config.schema import CLOSED
from unlearn.evaluation.audit import AuditedNetwork, AuditFigure, AuditFigures
from unlearn.evaluation.base import FigureName
from unlearn.optimizers import Adam
from unlearn.protocol import Request
from unlearn.synthesis.inversion import total_variation


@dataclass(config=CLOSED)
class Inversion:
    """Settings of an inversion, shared by the metrics and audits that invert images.

    Args:
        steps: Steps of Adam.
        learning_rate: Learning rate of Adam.
        tv_weight: Weight of the total variation in the loss.
    """

    steps: NonNegativeInt
    learning_rate: PositiveFloat
    tv_weight: NonNegativeFloat

    def invert(self, network: nn.Module, request: Request, labels: Tensor, seed: int) -> Tensor:
        """Find images that a network assigns to given classes.

        Minimises cross-entropy + `tv_weight` * total variation with Adam, starting from Gaussian
        noise; after each step the values are clamped to those of black and white.

        Args:
            network: In eval mode; not changed.
            request: Shape and bounds of the images.
            labels: Class of each image (N,), on the device.
            seed: Seed of the starts, which depend on nothing else.

        Returns:
            Images (N, C, H, W), normalised.
        """
        random = torch.Generator().manual_seed(seed)
        images = torch.randn(len(labels), *request.shape, generator=random).to(labels.device)
        images = images.clamp(request.lowest, request.highest).requires_grad_()
        optimizer = Adam([images], self.learning_rate)
        for _ in range(self.steps):
            class_loss = F.cross_entropy(network(images), labels)
            loss = class_loss + self.tv_weight * total_variation(images)
            optimizer.zero_grad()
            loss.backward(inputs=[images])
            optimizer.step()
            with torch.no_grad():
                images.clamp_(request.lowest, request.highest)
        return images.detach()


@dataclass(config=CLOSED, kw_only=True)
class InversionAudit(Inversion):
    """What a judge network sees in images inverted from the audited network for forget classes.

    Args:
        images: Images inverted from each network, from the same starts.
    """

    images: PositiveInt
    needs_judge: ClassVar[bool] = True
    figure_names: ClassVar[Mapping[str, FigureName]] = {
        "named": FigureName("inversion named", "%"),
        "probability": FigureName("inversion probability", "%"),
    }

    def __call__(self, audited: AuditedNetwork, peers: Sequence[AuditedNetwork]) -> AuditFigures:
        """Invert images and ask the judge.

        Returns:
            `named`: percentage of the images that the judge assigns to the class aimed at;
            `probability`: mean probability that the judge gives to this class, percent.
        """
        request, judge = audited.context.request, audited.context.judge
        assert judge is not None
        forget = torch.tensor(request.forget, device=request.hardware.device)
        labels = forget.repeat(-(-self.images // len(forget)))[: self.images]
        images = self.invert(audited.network, request, labels, request.seed)
        with torch.no_grad():
            probabilities = judge(images).float().softmax(dim=1)
        named = (probabilities.argmax(dim=1) == labels).double().mean().item()
        probability = probabilities.gather(1, labels[:, None]).double().mean().item()
        return {
            "named": AuditFigure(100 * named, 100 / self.images),
            "probability": AuditFigure(100 * probability),
        }
