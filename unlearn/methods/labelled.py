"""What methods that train on labelled rows share: the class loss, other labels."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlearn.hardware import Hardware
from unlearn.request import Request
from unlearn.sources.base import Examples


def class_loss(
    student: nn.Module, examples: Examples, hardware: Hardware
) -> Callable[[Tensor], Tensor]:
    """The mean cross-entropy in nats of the student on row numbers (B,) of the examples."""

    def loss_of(rows: Tensor) -> Tensor:
        logits = student(hardware.layout(examples.images[rows])).float()
        return F.cross_entropy(logits, examples.labels[rows])

    return loss_of


def relabelled(examples: Examples, request: Request, random: torch.Generator) -> Examples:
    """The same rows, each of a forget class under a random retain class."""
    images, labels = examples
    retain = torch.tensor(request.retain)
    drawn = retain[torch.randint(len(retain), labels.shape, generator=random)].to(labels.device)
    return Examples(images, torch.where(request.forget_mask[labels], drawn, labels))
