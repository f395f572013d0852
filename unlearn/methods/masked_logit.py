"""The degenerate baseline that only hides a class: the teacher with its logit held down.

    w_f = 0, b_f = bias for each forget class f: z_f(x) = bias, whatever the image

D_f is 0 without any training, and every feature of the class is where it was; what a linear probe
reads out of forgetful networks in "An Illusion of Unlearning?" (AISTATS 2026, arXiv 2604.08271).
A method must beat this on the audits of what lies before the last layer.
"""

from __future__ import annotations

from dataclasses import dataclass

from unlearn.data.tensors import Access, Split
from unlearn.protocol import Request, State, Steps
from unlearn.training.student import hold_down, taught_student


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
