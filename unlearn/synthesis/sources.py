"""Labelled images for the methods that need them: real training rows or inverted images."""

from __future__ import annotations

from collections.abc import Generator
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor

from unlearn.config.schema import CLOSED
from unlearn.data.images import choose
from unlearn.data.tensors import Access, Split, draw_rows
from unlearn.models.network import has_batch_norm
from unlearn.protocol import Request, State
from unlearn.synthesis.inversion import DeepInversion

WantedClasses = Literal["forget", "retain", "all"]


class Examples(NamedTuple):
    """Labelled images on the device.

    Args:
        images: (N, C, H, W), normalised.
        labels: Classes, (N,), int64.
    """

    images: Tensor
    labels: Tensor

    def of(self, classes: tuple[int, ...]) -> Examples:
        """The rows of these classes, in their order."""
        rows = torch.isin(self.labels, torch.tensor(classes, device=self.labels.device))
        return Examples(choose(self.images, rows), self.labels[rows])

    def first(self, count: int) -> Examples:
        """The first `count` rows, read into memory."""
        return Examples(self.images[:count], self.labels[:count])

    def draw(self, count: int, random: torch.Generator) -> Examples:
        """At most `count` rows of each class, drawn at random; see `draw_rows`."""
        rows = draw_rows(self.labels, count, random)
        return Examples(choose(self.images, rows), self.labels[rows])


@runtime_checkable
class Source(Protocol):
    """Gives a method its labelled images, so that one method runs on real or synthesised ones."""

    def access(self, wanted: WantedClasses) -> Access:
        """The access to real data that images of these classes take."""
        ...

    def examples(
        self,
        request: Request,
        data: Split | None,
        wanted: WantedClasses,
        random: torch.Generator,
        most: int | None = None,
    ) -> Generator[State, object, Examples]:
        """Yield the state after each step of a synthesis, if there is one; return the images.

        Args:
            request: The teacher and what is known of its inputs.
            data: Training rows that the runner granted, or None.
            wanted: Classes whose images are wanted.
            random: Generator of everything random.
            most: Largest number of images of each class, drawn at random; None: all.
        """
        ...


@dataclass(config=CLOSED, kw_only=True)
class Real:
    """The training rows of the wanted classes; the record counts what is read of them.

    Args:
        most: Largest number of rows of each class, drawn at random, at least 1; None: all.
    """

    most: PositiveInt | None

    def access(self, wanted: WantedClasses) -> Access:
        """The rows of the wanted classes."""
        return wanted

    def examples(
        self,
        request: Request,
        data: Split | None,
        wanted: WantedClasses,
        random: torch.Generator,
        most: int | None = None,
    ) -> Generator[State, object, Examples]:
        """Return the rows that the runner granted; see `Source`."""
        yield from ()
        assert data is not None
        limits = [limit for limit in (self.most, most) if limit is not None]
        if limits:  # labels first, so that no image is read which is not used
            data = data.at(draw_rows(data.labels, min(limits), random))
        return Examples(data.images, data.labels)


@dataclass(config=CLOSED, kw_only=True)
class Inverted:
    """DeepInversion images of the wanted classes, all optimised in one batch.

    Args:
        images: Images of each class, at least 1.
        steps: Steps of Adam, at least 1; a tenth of them warm up.
        learning_rate: Largest learning rate, above 0.
        batch_norm_weight: Weight of the distance to the teacher's batch-norm statistics, at least
            0; a teacher without batch norm has no such term.
        tv_weight: Weight of the total variation, at least 0.
    """

    images: PositiveInt
    steps: PositiveInt
    learning_rate: PositiveFloat
    batch_norm_weight: NonNegativeFloat
    tv_weight: NonNegativeFloat

    def access(self, wanted: WantedClasses) -> Access:
        """No data."""
        return "none"

    def examples(
        self,
        request: Request,
        data: Split | None,
        wanted: WantedClasses,
        random: torch.Generator,
        most: int | None = None,
    ) -> Generator[State, object, Examples]:
        """Yield the state after each inversion step; return the images; see `Source`."""
        every = tuple(range(request.num_classes))
        classes = {"forget": request.forget, "retain": request.retain, "all": every}[wanted]
        labels = torch.tensor(classes).repeat(self.images).to(request.hardware.device)
        inversion = DeepInversion(
            steps=self.steps,
            learning_rate=self.learning_rate,
            warmup=self.steps // 10,
            batch_norm_weight=self.batch_norm_weight if has_batch_norm(request.teacher) else 0.0,
            first_layer_factor=10.0,
            tv_weight=self.tv_weight,
            jitter=1,
        )
        images = yield from inversion.invert(request, labels, random)
        examples = Examples(images, labels)
        return examples if most is None else examples.draw(most, random)
