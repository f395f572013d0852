"""Bases of the methods that train on labelled images, real or inverted from the teacher."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import ClassVar

import torch
from pydantic import PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.optim import Optimizer

from unlearn.config.schema import CLOSED
from unlearn.data.tensors import Access, Split
from unlearn.protocol import Request, State, Steps
from unlearn.synthesis.sources import Examples, Source, WantedClasses
from unlearn.training.loops import run_epochs


@dataclass(config=CLOSED, kw_only=True)
class LabelledMethod:
    """A method that asks a source for images of the `wanted` classes and their labels.

    Args:
        source: Source of the images: `real` training rows, or `inverted` from the teacher.
        batch_size: Images of a step, at least 1.
    """

    wanted: ClassVar[WantedClasses]
    source: Source
    batch_size: PositiveInt

    @property
    def access(self) -> Access:
        """The wanted classes' images, or none where the source makes them."""
        return self.source.access(self.wanted)

    def collect(
        self,
        request: Request,
        data: Split | None,
        random: torch.Generator,
        most: int | None = None,
    ) -> Generator[State, object, Examples]:
        """Yield the state after each step of a synthesis; return the examples; see `Source`."""
        return self.source.examples(request, data, self.wanted, random, most)


@dataclass(config=CLOSED, kw_only=True)
class EpochMethod(LabelledMethod):
    """A labelled method that trains for some epochs with one optimiser.

    Args:
        epochs: Passes over the images, at least 1.
        learning_rate: Learning rate of the optimiser, above 0.
    """

    epochs: PositiveInt
    learning_rate: PositiveFloat

    def train(
        self,
        stage: str,
        student: nn.Module,
        optimizer: Optimizer,
        loss_of: Callable[[Tensor], Tensor],
        rows: int,
        request: Request,
        random: torch.Generator,
        adjust: Callable[[], None] | None = None,
    ) -> Steps:
        """Minimise a loss on so many rows; yield the state after each epoch; see `run_epochs`."""
        return run_epochs(
            stage,
            student,
            optimizer,
            loss_of,
            rows=rows,
            batch_size=self.batch_size,
            epochs=self.epochs,
            request=request,
            random=random,
            adjust=adjust,
        )
