"""The degenerate baseline that only hides a class: the teacher with its logit made constant.

    w_f = 0, b_f = bias for each forget class f: z_f(x) = bias for every image x

D_f is 0 without any training, and all features of the class stay. It is what a linear probe finds
in networks that seem to have forgotten in "An Illusion of Unlearning?" (AISTATS 2026, arXiv
2604.08271). A method must beat this baseline on the audits of the layers before the last one.
"""

from typing import ClassVar

from pydantic.dataclasses import dataclass

from unlearn.config.schema import CLOSED
from unlearn.data.tensors import Access, Split
from unlearn.protocol import Request, State, Steps
from unlearn.training.student import copy_teacher, mask_logits


@dataclass(config=CLOSED, kw_only=True)
class MaskedLogit:
    """Replace the forget classes' rows of the teacher's last linear layer.

    Args:
        bias: Logit of a forget class on every image; it should lie far below the others.
    """

    access: ClassVar[Access] = "none"
    bias: float

    def unlearn(self, request: Request, data: Split | None) -> Steps:
        """Yield one state, with the masked teacher; see `Method`.

        Raises:
            RunError: If the network has no linear layer with one row a class, or that has no bias.
        """
        student = copy_teacher(request).eval()
        mask_logits(student, request.forget, request.num_classes, self.bias)
        yield State("mask", 1, 1, student)
