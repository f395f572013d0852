"""Boundary Expand: move the forget classes to an extra class, which is then cut off.

    X = images of the forget classes
    S+ = the teacher with one more row in its last layer: K + 1 classes
    minimise CE(S+(X), K)
    S = S+ without that row

"Boundary Unlearning" (Chen et al., CVPR 2023) and its code: SGD with momentum, batch norm in train
mode.
"""

import dataclasses
from typing import ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from unlearn.config.schema import CLOSED
from unlearn.data.tensors import Split
from unlearn.models.network import readout
from unlearn.protocol import Request, Steps
from unlearn.synthesis.sources import Examples
from unlearn.training.labelled import ForgetMethod
from unlearn.training.student import set_training


@dataclass(config=CLOSED, kw_only=True)
class BoundaryExpand(ForgetMethod):
    """Train the teacher to answer the forget classes' images with one class more.

    Its settings are those of `ForgetMethod`.
    """

    stage: ClassVar[str] = "expand"

    def unlearn(self, request: Request, data: Split | None) -> Steps:
        """Yield the state after each step of the source and each epoch; see `Method`.

        Raises:
            RunError: If the network has no linear layer with one row a class.
        """
        random = torch.Generator().manual_seed(request.seed)
        images, _ = yield from self.collect(request, data, random)
        student = self.copy_teacher(request)
        widened = WidenedNetwork(student, request.num_classes, request.seed)
        request.hardware.place(widened.row)
        set_training(widened, frozen=self.batch_norm == "frozen")
        extra = torch.full((len(images),), request.num_classes, device=images.device)
        passes = self.make_passes(widened, Examples(images, extra), request, random)
        for state in self.train(widened, passes, request, random):
            yield dataclasses.replace(state, student=student)


class WidenedNetwork(nn.Module):
    """A network whose last layer has one more row.

    Args:
        network: Network with a linear layer of one row a class; it is what is left without the row.
        classes: Number of classes K.
        seed: Seed of the row.
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
