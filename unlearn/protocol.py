"""All that the author of a method reads: the request, the state it yields, and the protocol."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from unlearn.config.schema import retain_classes
from unlearn.data.tensors import Access, Split
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
        return retain_classes(self.num_classes, self.forget)


SHOWN = 64  # samples kept for pictures


@dataclass(frozen=True)
class Samples:
    """Some synthesised images (n, C, H, W), normalised, and the filter's weights (n,)."""

    images: Tensor
    weights: Tensor
    classes: Tensor

    @classmethod
    def first(cls, images: Tensor, weights: Tensor, logits: Tensor) -> Samples:
        """The first `SHOWN` of the images, under the classes that the teacher answers them with."""
        return cls(images[:SHOWN], weights[:SHOWN], logits[:SHOWN].argmax(1))


@dataclass(frozen=True)
class State:
    """Where a method stands after one step.

    Args:
        stage: what it is doing (`transfer`, `invert`, ...).
        step: steps done in this stage, from 1.
        total: steps of this stage.
        student: the network as it is now, None while it is still the teacher or the start; the
            runner may look, never change it.
        scalars: losses and rates, left on the device until somebody reads them.
        samples: a few synthesised images, at the last step of a stage.
    """

    stage: str
    step: int
    total: int
    student: nn.Module | None
    scalars: Mapping[str, Tensor | float] = field(default_factory=dict)
    samples: Samples | None = None


@dataclass(frozen=True)
class Observed:
    """Accuracy in percent of the current student on real test data, for `oracle` access alone."""

    retain: float
    forget: float


Steps = Generator[State, Observed | None, None]


@runtime_checkable
class ChecksNetwork(Protocol):
    """A method that does not work with every network, and says so before any work."""

    def check_network(self, network: nn.Module) -> None:
        """Look at a fresh network of the teacher's architecture.

        Raises:
            ConfigError: naming the key of the method that does not go with the network.
        """
        ...


class Method(Protocol):
    """Turns a teacher into a student that has forgotten.

    `access` says what real data it gets: `none`; `oracle` (none, but it is told test accuracies,
    as published code does); `forget`, `retain` or `all` of the training set.
    """

    @property
    def access(self) -> Access:
        """The least that the method needs; the runner hands over nothing more."""
        ...

    def unlearn(self, request: Request, data: Split | None) -> Steps:
        """Yield the state after each step; the student of the last one is the result.

        Args:
            request: the teacher and what is known of its inputs.
            data: training rows that `access` grants, or None.

        Raises:
            RunError: if the run cannot go on (a loss is not finite, the gate lets nothing pass).
        """
        ...
