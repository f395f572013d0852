"""A student without any data: its answers on images that are made from the teacher."""

from __future__ import annotations

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from unlearn.config.schema import CLOSED
from unlearn.evaluation.base import StudentFigures
from unlearn.evaluation.inversion import invert_classes
from unlearn.protocol import Request
from unlearn.roles import derive_seed
from unlearn.training.losses import target_probabilities


@dataclass(config=CLOSED)
class Proxy:
    """Stand-ins for D_r and D_f on images that are inverted from the teacher, and their mixtures.

    A student that was taught on inverted images soon answers such images perfectly; on mixtures
    of two it goes on changing, so that these rank its checkpoints.

    Args:
        images: inverted for each class.
        steps: of the inversion, and the other keys of `inverted`.
        learning_rate: of the inversion.
        tv_weight: of the total variation.
        mixtures: made of each inverted image.
    """

    images: PositiveInt
    steps: NonNegativeInt
    learning_rate: PositiveFloat
    tv_weight: NonNegativeFloat
    mixtures: PositiveInt

    def watch(self, request: Request) -> StudentFigures:
        """Make the images; the figures are those of `Probe`. See `Watch`."""
        # Inverted from the request's own seed they would be the images that methods invert.
        seed = derive_seed(request.seed, "proxy")
        labels = torch.arange(request.num_classes).repeat(self.images).to(request.hardware.device)
        pure = invert_classes(
            request.teacher,
            request,
            labels,
            steps=self.steps,
            learning_rate=self.learning_rate,
            tv_weight=self.tv_weight,
            seed=seed,
        )
        mixed = mixtures(pure, self.mixtures, seed)
        return ProxyImages(request, labels, pure, mixed).figures


class ProxyImages:
    """Images of all classes, and what the teacher answers to them.

    Args:
        request: teacher and forget classes.
        labels: class of each inverted image, (n,), on the device.
        pure: inverted images (n, C, H, W), normalised.
        mixed: a whole number of mixtures of each, in the same order, (m * n, C, H, W).
    """

    def __init__(self, request: Request, labels: Tensor, pure: Tensor, mixed: Tensor) -> None:
        self.request, self.count = request, len(pure)
        self.images = torch.cat([pure, mixed])
        self.forget = request.forget_mask
        self.forgotten = self.forget[labels].repeat(len(self.images) // self.count)
        logits = self.answers(request.teacher)
        self.taught = logits.argmax(dim=1)
        self.target = target_probabilities(logits, self.forget, "masked")

    @torch.no_grad()
    def answers(self, network: nn.Module) -> Tensor:
        """Logits (n + m * n, K), float32, of a network in eval mode."""
        with self.request.hardware.autocast():
            logits: Tensor = network(self.request.hardware.layout(self.images))
        return logits.float()

    def figures(self, student: nn.Module) -> dict[str, float]:
        """Figures of a student in eval mode.

        Returns:
            On inverted images, percent: `retain`: of the retain classes' images, those answered
            as the teacher does; `forget`: of the forget classes' images, those answered with a
            forget class. On mixtures: `soft_retain`: mean probability of the teacher's best
            retain class where a retain class prevails, percent; `soft_forget`: mean probability
            of the forget classes where one of them prevails, percent; `score`: the difference
            of the two; `likelihood`: mean log-likelihood of the masked teacher's answers, nats,
            at most 0; `margin`: mean lead of the best forget logit over the best retain logit
            where a forget class prevails.
        """
        logits = self.answers(student).double()
        pure, mixed = slice(self.count), slice(self.count, None)
        answered, kept = logits.argmax(dim=1), ~self.forgotten
        agreeing = (answered == self.taught)[pure][kept[pure]].double().mean().item()
        forgetting = self.forget[answered][pure][~kept[pure]].double().mean().item()
        target, log_answers, kept = self.target[mixed], logits[mixed].log_softmax(1), kept[mixed]
        best = log_answers.gather(1, target.argmax(dim=1, keepdim=True)).exp().squeeze(1)
        mass = log_answers[:, self.forget].exp().sum(dim=1)
        soft_retain, soft_forget = 100 * best[kept].mean().item(), 100 * mass[~kept].mean().item()
        lead = log_answers[:, self.forget].amax(dim=1) - log_answers[:, ~self.forget].amax(dim=1)
        return {
            "retain": 100 * agreeing,
            "forget": 100 * forgetting,
            "soft_retain": soft_retain,
            "soft_forget": soft_forget,
            "score": soft_retain - soft_forget,
            "likelihood": (target * log_answers).sum(dim=1).mean().item(),
            "margin": lead[~kept].mean().item(),
        }


def mixtures(images: Tensor, count: int, seed: int) -> Tensor:
    """Each image (n, C, H, W) mixed with others: half to nine tenths of itself, (count * n, ...).

    Args:
        images: to mix, each with a random one.
        count: mixtures of each.
        seed: of partners and shares.
    """
    random = torch.Generator().manual_seed(seed)
    partners = [torch.randperm(len(images), generator=random) for _ in range(count)]
    shares = 0.5 + 0.4 * torch.rand(count * len(images), 1, 1, 1, generator=random)
    shares = shares.to(images.device)
    others = images[torch.cat(partners).to(images.device)]
    return shares * images.repeat(count, 1, 1, 1) + (1 - shares) * others
