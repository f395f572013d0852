"""Bases of the methods that train on labelled images, real or inverted from the teacher."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from functools import partial
from typing import ClassVar

import torch
from pydantic import PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.optim import Optimizer

from unlearn.config.schema import CLOSED
from unlearn.data.tensors import Access, Split
from unlearn.models.layers import find_last_layers
from unlearn.optimizers import SGD
from unlearn.protocol import Request, State, Steps
from unlearn.synthesis.sources import Examples, Source, WantedClasses
from unlearn.training.loops import Pass, run_epochs
from unlearn.training.losses import make_class_loss
from unlearn.training.student import BatchNorm, copy_teacher


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
    """A labelled method that trains the teacher for some epochs with one optimiser.

    By default it minimises the cross-entropy with SGD (momentum 0.9). A method overrides the parts
    in which it differs: `choose_labels`, `copy_teacher`, `make_passes`, `make_loss`,
    `make_optimizer`, `prepare`, `adjust`.

    Args:
        epochs: Passes over the images, at least 1.
        learning_rate: Learning rate of the optimiser, above 0.
    """

    stage: ClassVar[str]
    epochs: PositiveInt
    learning_rate: PositiveFloat

    def unlearn(self, request: Request, data: Split | None) -> Steps:
        """Yield the state after each step of the source and each epoch; see `Method`."""
        random = torch.Generator().manual_seed(request.seed)
        examples = yield from self.collect(request, data, random)
        examples = self.choose_labels(examples, request, random)
        student = self.copy_teacher(request)
        passes = self.make_passes(student, examples, request, random)
        yield from self.train(student, passes, request, random, partial(self.adjust, student))

    def choose_labels(
        self, examples: Examples, request: Request, random: torch.Generator
    ) -> Examples:
        """Return the images with the labels that the student learns; by default their own."""
        return examples

    def copy_teacher(self, request: Request) -> nn.Module:
        """Return the student at the start: a copy of the teacher in train mode."""
        return copy_teacher(request)

    def make_passes(
        self, student: nn.Module, examples: Examples, request: Request, random: torch.Generator
    ) -> Callable[[int], Iterable[Pass]]:
        """Return the passes of an epoch, which counts from 1; by default one over all rows."""
        loss_of = self.make_loss(student, examples, request, random)
        return lambda _: [Pass(self.stage, loss_of, len(examples.labels), self.batch_size)]

    def make_loss(
        self, student: nn.Module, examples: Examples, request: Request, random: torch.Generator
    ) -> Callable[[Tensor], Tensor]:
        """Return the loss, a function of row numbers (B,); by default the cross-entropy."""
        return make_class_loss(student, examples, request.hardware)

    def make_optimizer(self, student: nn.Module) -> Optimizer:
        """Return the optimiser of the student."""
        return SGD(student.parameters(), self.learning_rate, momentum=0.9)

    def prepare(self, optimizer: Optimizer, epoch: int) -> None:
        """Change the optimiser before an epoch, which counts from 1; by default it stays."""

    def adjust(self, student: nn.Module) -> None:
        """Change the gradients before a step of the optimiser; by default they stay."""

    def train(
        self,
        student: nn.Module,
        passes: Callable[[int], Iterable[Pass]],
        request: Request,
        random: torch.Generator,
        adjust: Callable[[], None] | None = None,
    ) -> Steps:
        """Train with the method's own optimiser; yield the state after each epoch."""
        optimizer = self.make_optimizer(student)

        def prepared(epoch: int) -> Iterable[Pass]:
            self.prepare(optimizer, epoch)
            return passes(epoch)

        return run_epochs(
            self.stage,
            student,
            optimizer,
            prepared,
            epochs=self.epochs,
            request=request,
            random=random,
            adjust=adjust,
        )


@dataclass(config=CLOSED, kw_only=True)
class ForgetMethod(EpochMethod):
    """An epoch method on images of the forget classes alone.

    Args:
        batch_norm: Batch norm of the student: `train`, or `frozen` at the teacher's statistics.
    """

    wanted: ClassVar[WantedClasses] = "forget"
    batch_norm: BatchNorm

    def copy_teacher(self, request: Request) -> nn.Module:
        """Return a copy of the teacher in train mode, its batch norm as `batch_norm` says."""
        return copy_teacher(request, self.batch_norm)


@dataclass(config=CLOSED, kw_only=True)
class LastLayersMethod(EpochMethod):
    """An epoch method on images of the retain classes that trains the last layers alone.

    It uses SGD without momentum.

    Args:
        layers: Number of layers that are trained (k), at least 1; see `find_last_layers`.
    """

    wanted: ClassVar[WantedClasses] = "retain"
    layers: PositiveInt

    def check_network(self, network: nn.Module) -> None:
        """Raise `ConfigError` if the network has fewer layers."""
        find_last_layers(network, self.layers)

    def copy_teacher(self, request: Request) -> nn.Module:
        """Return a copy of the teacher in which all layers but the last are frozen."""
        student = copy_teacher(request, "frozen").requires_grad_(False)
        for module in find_last_layers(student, self.layers):
            module.training = True
            for weight in module.parameters(recurse=False):
                weight.requires_grad_(True)
        return student

    def make_optimizer(self, student: nn.Module) -> Optimizer:
        """SGD without momentum on the layers that are trained."""
        return SGD([w for w in student.parameters() if w.requires_grad], self.learning_rate)
