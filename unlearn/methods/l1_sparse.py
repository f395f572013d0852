"""L1-sparse: fine-tune without the forget classes under a penalty that makes the weights sparse.

    X, Y = images and labels of the retain classes
    for each epoch t = 0, ..., E - 1, S starting from the teacher T:
        minimise CE(S(X), Y) + gamma * (1 - t / E) * ||weights of S||_1

"Model Sparsity Can Simplify Machine Unlearning" (Jia et al., NeurIPS 2023): its sparsity-aware
unlearning (L1-sparse MU) with the decreasing schedule that it found best, as in its code (`FT_l1`).
SGD with momentum; its weight decay is left out. On inverted images (`method/source=inverted`) it
needs no data.
"""

from collections.abc import Callable, Iterable
from typing import ClassVar

import torch
from pydantic import NonNegativeFloat
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from unlearn.config.schema import CLOSED
from unlearn.protocol import Request
from unlearn.synthesis.sources import Examples, WantedClasses
from unlearn.training.labelled import EpochMethod
from unlearn.training.loops import Pass


@dataclass(config=CLOSED, kw_only=True)
class L1Sparse(EpochMethod):
    """Train the teacher on with the retain classes and an L1 penalty.

    Args: those of `EpochMethod`, and
        sparsity: Weight of the L1 norm in the first epoch (gamma in the paper), at least 0. It
            falls linearly, towards 0 after the last epoch.
    """

    wanted: ClassVar[WantedClasses] = "retain"
    stage: ClassVar[str] = "l1_sparse"
    sparsity: NonNegativeFloat

    def make_passes(
        self, student: nn.Module, examples: Examples, request: Request, random: torch.Generator
    ) -> Callable[[int], Iterable[Pass]]:
        """One pass over the retain rows, whose penalty depends on the epoch."""
        error = self.make_loss(student, examples, request, random)

        def passes(epoch: int) -> list[Pass]:
            weight = self.sparsity * (1 - (epoch - 1) / self.epochs)

            def loss_of(rows: Tensor) -> Tensor:
                return error(rows) + weight * compute_l1_norm(student)

            return [Pass(self.stage, loss_of, len(examples.labels), self.batch_size)]

        return passes


def compute_l1_norm(network: nn.Module) -> Tensor:
    """Sum of the absolute values of all parameters, a scalar."""
    return torch.stack([weight.abs().sum() for weight in network.parameters()]).sum()
