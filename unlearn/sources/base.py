"""What a method asks of a source of labelled images."""

from __future__ import annotations

from collections.abc import Generator
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from unlearn.data.tensors import Access, Split
from unlearn.methods.base import State
from unlearn.request import Request

Wanted = Literal["forget", "retain", "all"]


class Examples(NamedTuple):
    """Images (N, C, H, W), normalised, and their classes (N,), int64, on the device."""

    images: Tensor
    labels: Tensor

    def of(self, classes: tuple[int, ...]) -> Examples:
        """The rows of these classes, in their order."""
        rows = torch.isin(self.labels, torch.tensor(classes, device=self.labels.device))
        return Examples(self.images[rows], self.labels[rows])

    def most(self, count: int, random: torch.Generator) -> Examples:
        """At most `count` rows of each class, drawn at random, class by class."""
        rows = drawn(self.labels, count, random)
        return Examples(self.images[rows], self.labels[rows])


def drawn(labels: Tensor, count: int, random: torch.Generator) -> Tensor:
    """The numbers of at most `count` rows of each class (N,), drawn at random, class by class."""
    order = torch.randperm(len(labels), generator=random).to(labels.device)
    return torch.cat([order[labels[order] == c][:count] for c in labels.unique()])


class Source(Protocol):
    """Hands a method its images; a method written for real images runs on synthesised ones too."""

    def access(self, wanted: Wanted) -> Access:
        """The access that a method needs which asks for the images of these classes."""
        ...

    def examples(
        self,
        request: Request,
        data: Split | None,
        wanted: Wanted,
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


def classes_of(request: Request, wanted: Wanted) -> tuple[int, ...]:
    """The class indices that a method asks for."""
    every = tuple(range(request.num_classes))
    return {"forget": request.forget, "retain": request.retain, "all": every}[wanted]
