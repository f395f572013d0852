"""The degenerate baseline that only hides a class: the teacher with its logit held down.

    w_f = 0, b_f = bias for each forget class f: z_f(x) = bias, whatever the image

D_f is 0 without any training, and every feature of the class is where it was; what a linear probe
reads out of forgetful networks in "An Illusion of Unlearning?" (AISTATS 2026, arXiv 2604.08271).
A method must beat this on the audits of what lies before the last layer.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from unlearn.data.tensors import Access, Split
from unlearn.errors import RunError
from unlearn.methods.base import State, Steps
from unlearn.methods.student import taught_student
from unlearn.models.network import readout
from unlearn.request import Request


@dataclass(frozen=True, kw_only=True)
class MaskedLogit:
    """The teacher, but for the forget classes' rows of the last linear layer.

    Args:
        bias: the logit that a forget class has for every image; far below those of the others.
    """

    bias: float

    @property
    def access(self) -> Access:
        """No data."""
        return "none"

    def unlearn(self, request: Request, data: Split | None) -> Steps:
        """Yield one state, with the masked teacher; see `Method`.

        Raises:
            RunError: if the network has no linear layer with one row a class, or that has no bias.
        """
        student = taught_student(request).eval()
        hold_down(student, request.forget, request.num_classes, self.bias)
        yield State("mask", 1, 1, student)


@torch.no_grad()
def hold_down(network: nn.Module, forget: tuple[int, ...], classes: int, bias: float) -> None:
    """Make the logits of the forget classes `bias` in a network of K classes, in place.

    Raises:
        RunError: if the network has no linear layer with one row a class, or that has no bias.
    """
    last = readout(network, classes)
    if "bias" not in dict(last.named_parameters()):
        raise RunError("method=masked_logit: the last linear layer has no bias to hold down")
    last.weight[list(forget)] = 0.0
    last.bias[list(forget)] = bias
