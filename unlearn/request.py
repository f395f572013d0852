"""The request: all that a method is told of the network and its inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from unlearn.filters.base import Filter
from unlearn.hardware import Hardware
from unlearn.resume import Progress


@dataclass(frozen=True)
class Request:
    """Everything a zero-shot method may know. No field leads to an image, a label or a figure.

    Args:
        teacher: the trained network: a copy, in eval mode, its parameters frozen.
        fresh: makes a freshly initialised network of the teacher's architecture.
        forget: the classes to forget.
        num_classes: K.
        shape: (channels, height, width) of an input.
        lowest: normalised value of black, (C, 1, 1).
        highest: normalised value of white, (C, 1, 1).
        attention: names of the layers whose attention may be transferred.
        filter: weights on generated samples.
        hardware: device and precision.
        seed: of everything random; the runner has also seeded torch with it.
        progress: for loops that are to go on where they stopped when the run was killed.
    """

    teacher: nn.Module
    fresh: Callable[[], nn.Module]
    forget: tuple[int, ...]
    num_classes: int
    shape: tuple[int, int, int]
    lowest: Tensor
    highest: Tensor
    attention: tuple[str, ...]
    filter: Filter
    hardware: Hardware
    seed: int
    progress: Progress = field(default_factory=Progress)

    @property
    def forget_mask(self) -> Tensor:
        """Bool (K,), true at the forget classes, on the device."""
        mask = torch.zeros(self.num_classes, dtype=torch.bool)
        mask[list(self.forget)] = True
        return mask.to(self.hardware.device)

    @property
    def retain(self) -> tuple[int, ...]:
        """The classes that are kept."""
        return tuple(c for c in range(self.num_classes) if c not in self.forget)
