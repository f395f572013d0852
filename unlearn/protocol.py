"""What the author of a method reads: the request, the states it yields, and the protocol.

A method is a class in one Python file with one YAML file of its settings:

    @dataclass(config=CLOSED, kw_only=True)                  # pydantic.dataclasses.dataclass
    class MyMethod:
        epochs: PositiveInt                                  # checked before anything is trained

        @property
        def access(self) -> Access:
            return "none"

        def unlearn(self, request: Request, data: Split | None) -> Steps:
            ...
            yield State("stage", step, total, student, {"loss": loss})

`CLOSED` (`unlearn.config.schema`) refuses settings that the class does not list.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from unlearn.config.schema import retain_classes
from unlearn.data.synthesised import ImageCache
from unlearn.data.tensors import Access, Split
from unlearn.filters.base import Filter
from unlearn.hardware import Hardware
from unlearn.resume import Progress

_MOST_SAMPLES = 64  # images kept for pictures


@dataclass(frozen=True)
class Request:
    """Everything that a zero-shot method may know: no field leads to an image, label or figure.

    Args:
        teacher: Copy of the trained network, in eval mode, with frozen parameters.
        fresh: Makes a freshly initialised network of the teacher's architecture.
        forget: Classes to forget.
        num_classes: Number of classes K.
        shape: Channels, height and width of an input image.
        lowest: Normalised value of black, (C, 1, 1).
        highest: Normalised value of white, (C, 1, 1).
        attention: Names of the layers whose attention maps may be compared.
        filter: Gives the row weights of synthesised images.
        hardware: Device, precision and memory format.
        seed: Seed of everything random. The runner has also seeded torch with it.
        progress: Wraps the loops that can go on where a killed run stopped.
        images: Synthesised images that other requests of the same teacher can use.
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
    images: ImageCache = field(default_factory=ImageCache)

    @property
    def forget_mask(self) -> Tensor:
        """Bool (K,) on the device, true at the forget classes."""
        mask = torch.zeros(self.num_classes, dtype=torch.bool)
        mask[list(self.forget)] = True
        return mask.to(self.hardware.device)

    @property
    def retain(self) -> tuple[int, ...]:
        """The classes that are kept."""
        return retain_classes(self.num_classes, self.forget)


@dataclass(frozen=True)
class Samples:
    """Some synthesised images, for pictures.

    Args:
        images: (n, C, H, W), normalised.
        weights: Row weights that the filter gives them, (n,).
        classes: Classes under which they are shown, (n,).
    """

    images: Tensor
    weights: Tensor
    classes: Tensor

    @classmethod
    def first(cls, images: Tensor, weights: Tensor, logits: Tensor) -> Samples:
        """The first 64 images, under the classes that the teacher's logits (N, K) give them."""
        shown = slice(_MOST_SAMPLES)
        return cls(images[shown], weights[shown], logits[shown].argmax(1))

    @classmethod
    def of_each_class(cls, images: Tensor, classes: Tensor) -> Samples:
        """About 64 images, equally many of each class, all of weight 1.

        Args:
            images: (k, n, C, H, W): n images of each of k classes.
            classes: (k,).
        """
        shown = images[:, : max(1, _MOST_SAMPLES // len(images))]
        labels = classes.repeat_interleave(shown.shape[1])
        return cls(shown.flatten(0, 1), torch.ones(len(labels), device=labels.device), labels)


@dataclass(frozen=True)
class State:
    """Where a method stands after one step.

    Args:
        stage: Name of the stage (`transfer`, `invert`, ...).
        step: Steps done in this stage, from 1.
        total: Steps of this stage.
        student: The network as it is now; None while it is still the teacher or the start. The
            runner may look at it and never changes it.
        scalars: Losses and rates, left on the device until somebody reads them.
        samples: A few synthesised images, at the last step of a stage.
        facts: What the method derived for itself, as plain values, for the record.
    """

    stage: str
    step: int
    total: int
    student: nn.Module | None
    scalars: Mapping[str, Tensor | float] = field(default_factory=dict)
    samples: Samples | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Observed:
    """Test accuracies of the current student, percent; told to methods with access `oracle`."""

    retain: float
    forget: float


Steps = Generator[State, Observed | None, None]


@runtime_checkable
class ChecksNetwork(Protocol):
    """A method that does not work with every network, and says so before any work."""

    def check_network(self, network: nn.Module) -> None:
        """Look at a fresh network of the teacher's architecture.

        Raises:
            ConfigError: Naming the setting of the method that does not go with the network.
        """
        ...


class Method(Protocol):
    """Turns a teacher into a student that has forgotten some classes."""

    @property
    def access(self) -> Access:
        """The real data that the method needs; the runner hands over nothing more.

        `none`; `oracle`: no data, but the student's test accuracies, as published code uses them;
        `forget`, `retain` or `all`: training rows of those classes.
        """
        ...

    def unlearn(self, request: Request, data: Split | None) -> Steps:
        """Yield the state after each step; the student of the last one is the result.

        Args:
            request: The teacher and what is known of its inputs.
            data: Training rows that `access` grants, or None.

        Raises:
            RunError: If the run cannot go on, for instance because a loss is not finite.
        """
        ...
