"""POUR-P: project the forget classes' weight vectors out of the features, in closed form.

    w_f = the row of the last layer for the forget class f
    P = I - w_f w_f^T / |w_f|^2
    S(x) = W P phi(x) + b with w_f = 0 and b_f = 0, where T(x) = W phi(x) + b

"POUR: A Provably Optimal Method for Unlearning Representations via Neural Collapse" (Le et al.,
CVPR 2026, arXiv 2511.19339). For several forget classes P projects onto the complement of the span
of their vectors. P is folded into the last layer, so that the network keeps its architecture: its
features phi(x) stay as they are, and it answers as a network with P behind them. As in a port of
its code, the row and bias of the forget classes are 0.

The paper proves that another class wins on forget images if the rows of W are a simplex frame,
whose sum is 0. In a trained network their sum need not be 0. If all other logits are negative, the
forget class keeps the largest logit, 0. `centred` makes the sum 0 first, which the paper does not.
"""

from typing import ClassVar

import torch
from pydantic.dataclasses import dataclass

from unlearn.config.schema import CLOSED
from unlearn.data.tensors import Access, Split
from unlearn.models.network import readout
from unlearn.protocol import Request, State, Steps
from unlearn.training.student import centre_rows, copy_teacher, make_projection


@dataclass(config=CLOSED, kw_only=True)
class PourProjection:
    """Project the forget classes out of the teacher's last linear layer.

    Args:
        centred: Whether the mean of the last layer's rows is subtracted first; see `centre_rows`.
    """

    access: ClassVar[Access] = "none"
    centred: bool

    @torch.no_grad()
    def unlearn(self, request: Request, data: Split | None) -> Steps:
        """Yield one state, with the projected teacher; see `Method`.

        Raises:
            RunError: If the network has no linear layer with one row a class.
        """
        student = copy_teacher(request).eval()
        if self.centred:
            centre_rows(student, request.num_classes)
        projection = make_projection(student, request.forget, request.num_classes)
        last = readout(student, request.num_classes)
        last.weight.copy_(last.weight.double() @ projection)
        for _, tensor in last.named_parameters():
            tensor[list(request.forget)] = 0.0
        yield State("project", 1, 1, student)
