"""Stand-ins for D_r and D_f that need no data: the student's answers on inverted images."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from unlearn.config.schema import CLOSED
from unlearn.evaluation.base import FigureName, StudentFigures
from unlearn.evaluation.inversion import Inversion
from unlearn.models.outputs import compute_logits
from unlearn.protocol import Request
from unlearn.roles import derive_seed
from unlearn.training.losses import target_probabilities


@dataclass(config=CLOSED, kw_only=True)
class Proxy(Inversion):
    """Figures of a student on images inverted from the teacher, and on mixtures of two of them.

    A student that was trained on inverted images soon answers such images perfectly. Its answers
    to mixtures go on changing, so that they can rank its checkpoints.

    Args:
        images: Images inverted for each class.
        mixtures: Mixtures made of each inverted image.
    """

    images: PositiveInt
    mixtures: PositiveInt
    figure_names: ClassVar[Mapping[str, FigureName]] = {"score": FigureName("proxy")}

    def prepare(self, request: Request) -> StudentFigures:
        """Make the images and mixtures; return `ProxyImages.measure`."""
        # The request's own seed would give the images that methods invert.
        seed = derive_seed(request.seed, "proxy")
        labels = torch.arange(request.num_classes).repeat(self.images).to(request.hardware.device)
        pure = self.invert(request.teacher, request, labels, seed)
        return ProxyImages(request, labels, pure, mix_images(pure, self.mixtures, seed)).measure


class ProxyImages:
    """Images of all classes, with the teacher's answers to them.

    Args:
        request: Teacher and forget classes.
        labels: Class of each inverted image (n,), on the device.
        pure: Inverted images (n, C, H, W), normalised.
        mixed: Mixtures (m * n, C, H, W), m of each inverted image, as `mix_images` orders them.
    """

    def __init__(self, request: Request, labels: Tensor, pure: Tensor, mixed: Tensor) -> None:
        self._hardware, self._count = request.hardware, len(pure)
        self._images = torch.cat([pure, mixed])
        self._forget = request.forget_mask
        self._is_forget = self._forget[labels].repeat(len(self._images) // self._count)
        logits = self._compute_logits(request.teacher)
        self._teacher_answers = logits.argmax(dim=1)
        self._target = target_probabilities(logits, self._forget, "masked")

    def _compute_logits(self, network: nn.Module) -> Tensor:
        return compute_logits(network, self._images, self._hardware, len(self._images))

    def measure(self, student: nn.Module) -> dict[str, float]:
        """Measure a student in eval mode.

        Returns:
            On inverted images, percent: `retain`: images of retain classes that the student
            answers as the teacher does; `forget`: images of forget classes that it answers with a
            forget class. On mixtures: `soft_retain`: mean probability of the teacher's best
            retain class where a retain class prevails, percent; `soft_forget`: mean probability
            of the forget classes where one of them prevails, percent; `score`: `soft_retain` -
            `soft_forget`; `likelihood`: mean log-likelihood of the masked teacher's answers, nats,
            at most 0; `margin`: best forget logit less best retain logit, mean where a forget
            class prevails.
        """
        logits = self._compute_logits(student).double()
        pure, mixed = slice(self._count), slice(self._count, None)
        answers, is_retain = logits.argmax(dim=1), ~self._is_forget
        agrees = (answers == self._teacher_answers)[pure][is_retain[pure]]
        names_forget = self._forget[answers][pure][~is_retain[pure]]
        target, log_probabilities = self._target[mixed], logits[mixed].log_softmax(1)
        is_retain = is_retain[mixed]
        best = log_probabilities.gather(1, target.argmax(dim=1, keepdim=True)).exp().squeeze(1)
        forget_mass = log_probabilities[:, self._forget].exp().sum(dim=1)
        margin = log_probabilities[:, self._forget].amax(1) - log_probabilities[
            :, ~self._forget
        ].amax(1)
        soft_retain = 100 * best[is_retain].mean().item()
        soft_forget = 100 * forget_mass[~is_retain].mean().item()
        return {
            "retain": 100 * agrees.double().mean().item(),
            "forget": 100 * names_forget.double().mean().item(),
            "soft_retain": soft_retain,
            "soft_forget": soft_forget,
            "score": soft_retain - soft_forget,
            "likelihood": (target * log_probabilities).sum(dim=1).mean().item(),
            "margin": margin[~is_retain].mean().item(),
        }


def mix_images(images: Tensor, count: int, seed: int) -> Tensor:
    """Mix each image with other images, at a random share from 0.5 to 0.9 of its own.

    Args:
        images: (n, C, H, W).
        count: Mixtures of each image, each with a random partner.
        seed: Seed of partners and shares.

    Returns:
        Mixtures (count * n, C, H, W): one of each image in the images' order, then the next.
    """
    random = torch.Generator().manual_seed(seed)
    partners = [torch.randperm(len(images), generator=random) for _ in range(count)]
    shares = 0.5 + 0.4 * torch.rand(count * len(images), 1, 1, 1, generator=random)
    shares = shares.to(images.device)
    others = images[torch.cat(partners).to(images.device)]
    return shares * images.repeat(count, 1, 1, 1) + (1 - shares) * others
