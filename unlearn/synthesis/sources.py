"""Labelled images for methods that need them: real training rows or inverted images."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from unlearn.data.images import choose
from unlearn.data.tensors import Access, Split, draw_rows
from unlearn.models.network import has_batch_norm
from unlearn.protocol import Request, State
from unlearn.synthesis.inversion import DeepInversion, invert_states

WantedClasses = Literal["forget", "retain", "all"]


class Examples(NamedTuple):
    """Images (N, C, H, W), normalised, and their classes (N,), int64, on the device."""

    images: Tensor
    labels: Tensor

    def of(self, classes: tuple[int, ...]) -> Examples:
        """The rows of these classes, in their order."""
        rows = torch.isin(self.labels, torch.tensor(classes, device=self.labels.device))
        return Examples(choose(self.images, rows), self.labels[rows])

    def most(self, count: int, random: torch.Generator) -> Examples:
        """At most `count` rows of each class, drawn at random, class by class."""
        rows = draw_rows(self.labels, count, random)
        return Examples(choose(self.images, rows), self.labels[rows])


class Source(Protocol):
    """Hands a method its images; a method written for real images runs on synthesised ones too."""

    def access(self, wanted: WantedClasses) -> Access:
        """The access that a method needs which asks for the images of these classes."""
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
            request: the teacher and what is known of its inputs.
            data: what the runner granted, or None.
            wanted: whose classes' images.
            random: of everything random.
            most: images of each class that the method takes, drawn at random; None: all.
        """
        ...


def classes_of(request: Request, wanted: WantedClasses) -> tuple[int, ...]:
    """The class indices that a method asks for."""
    every = tuple(range(request.num_classes))
    return {"forget": request.forget, "retain": request.retain, "all": every}[wanted]


@dataclass(frozen=True, kw_only=True)
class Real:
    """The training rows of the classes wanted; the record's ledger counts them.

    Args:
        most: rows of each class, drawn at random; None: all of them.
    """

    most: int | None

    def access(self, wanted: WantedClasses) -> Access:
        """Just what is asked for."""
        return wanted

    def examples(
        self,
        request: Request,
        data: Split | None,
        wanted: WantedClasses,
        random: torch.Generator,
        most: int | None = None,
    ) -> Generator[State, object, Examples]:
        """Those rows, of the ones that the runner granted; see `Source`."""
        yield from ()
        assert data is not None
        limits = [limit for limit in (self.most, most) if limit is not None]
        if limits:  # labels first, so that no image is read which is not used
            data = data.at(draw_rows(data.labels, min(limits), random))
        return Examples(data.images, data.labels)


@dataclass(frozen=True, kw_only=True)
class Inverted:
    """DeepInversion images of the classes wanted, all optimised at once ("Dreaming to Distill").

    Args:
        images: of each class.
        steps: of Adam, a tenth of them to warm up.
        learning_rate: at the peak.
        batch_norm_weight: of the distance to the teacher's batch-norm statistics; a teacher
            without batch norm has no such term.
        tv_weight: of the total variation.
    """

    images: int
    steps: int
    learning_rate: float
    batch_norm_weight: float
    tv_weight: float

    def access(self, wanted: WantedClasses) -> Access:
        """No data, whatever is asked for."""
        return "none"

    def examples(
        self,
        request: Request,
        data: Split | None,
        wanted: WantedClasses,
        random: torch.Generator,
        most: int | None = None,
    ) -> Generator[State, object, Examples]:
        """Invert the images; see `Source`."""
        labels = torch.tensor(classes_of(request, wanted)).repeat(self.images)
        labels = labels.to(request.hardware.device)
        prior = self.batch_norm_weight if has_batch_norm(request.teacher) else 0.0
        inversion = DeepInversion(
            steps=self.steps,
            learning_rate=self.learning_rate,
            warmup=self.steps // 10,
            batch_norm_weight=prior,
            first_layer_factor=10.0,
            tv_weight=self.tv_weight,
            l2_weight=0.0,
            jitter=1,
            flip=False,
        )
        inverting = inversion.invert(request, labels, random)
        images = yield from invert_states(inverting, 0, self.steps)
        examples = Examples(images, labels)
        return examples if most is None else examples.most(most, random)
