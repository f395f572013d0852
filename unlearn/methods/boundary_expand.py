"""Boundary Expand: the forgotten class moved to a class of its own, which is then cut off.

    X = images of the forget classes
    S+ = the teacher with a row more in its last layer: K + 1 classes
    minimise CE(S+(X), K)
    S = S+ without the row

"Boundary Unlearning" (CVPR 2023) and its code: SGD with momentum, batch norm in train mode.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim import SGD

from unlearn.data.tensors import Access, Split
from unlearn.models.network import readout
from unlearn.protocol import Request, Steps
from unlearn.synthesis.sources import Examples, Source
from unlearn.training.loops import run_epochs
from unlearn.training.losses import class_loss
from unlearn.training.student import set_training, taught_student


@dataclass(frozen=True, kw_only=True)
class BoundaryExpand:
    """The teacher trained to answer the forget classes' images with one class more.

    Args:
        source: of the images.
        epochs: over the images.
        batch_size: of a step.
        learning_rate: of SGD with momentum 0.9.
        batch_norm: the student's: `train`, or `frozen` at the teacher's statistics.
    """

    source: Source
    epochs: int
    batch_size: int
    learning_rate: float
    batch_norm: Literal["train", "frozen"]

    @property
    def access(self) -> Access:
        """The forget classes' images, or none where the source makes them."""
        return self.source.access("forget")

    def unlearn(self, request: Request, data: Split | None) -> Steps:
        """Yield the state after each step of the source and each epoch; see `Method`.

        Raises:
            RunError: if the network has no linear layer with one row a class.
        """
        random = torch.Generator().manual_seed(request.seed)
        images, _ = yield from self.source.examples(request, data, "forget", random)
        student = taught_student(request)
        widened = Widened(student, request.num_classes, request.seed)
        request.hardware.place(widened.row)
        set_training(widened, frozen=self.batch_norm == "frozen")
        optimizer = SGD(widened.parameters(), self.learning_rate, momentum=0.9)
        extra = torch.full((len(images),), request.num_classes, device=images.device)
        for state in run_epochs(
            "expand",
            widened,
            optimizer,
            class_loss(widened, Examples(images, extra), request.hardware),
            rows=len(images),
            batch_size=self.batch_size,
            epochs=self.epochs,
            request=request,
            random=random,
        ):
            yield dataclasses.replace(state, student=student)


class Widened(nn.Module):
    """A network whose last layer has a row more; `network` is what is left without it.

    Args:
        network: with a linear layer of one row a class.
        classes: K.
        seed: of the row.
    """

    def __init__(self, network: nn.Module, classes: int, seed: int) -> None:
        super().__init__()
        self.network = network
        self._head = [readout(network, classes)]  # in a list: it is the network's already
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.row = nn.Linear(self._head[0].in_features, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) to logits (B, K + 1)."""
        taken: list[Tensor] = []
        hook = self._head[0].register_forward_pre_hook(lambda _, inputs: taken.append(inputs[0]))
        logits = self.network(images)
        hook.remove()
        return torch.cat([logits, self.row(taken[0])], dim=1)
