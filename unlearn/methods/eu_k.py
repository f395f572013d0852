"""EU-k: train the last k layers anew without the forget classes, and freeze the others.

    X, Y = images and labels of the retain classes
    S = the teacher T, its last k layers with fresh weights
    minimise CE(S(X), Y) over the last k layers of S

"Towards Adversarial Evaluations for Inexact Machine Unlearning" (Goel et al., arXiv 2201.06640):
exactly unlearning the last k layers. SGD without momentum, as in the code of SCRUB
(`fk_fientune`). Batch norm of the frozen layers stays at the teacher's statistics. On inverted
images (`method/source=inverted`) it needs no data.
"""

from typing import ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import nn

from unlearn.config.schema import CLOSED
from unlearn.models.layers import find_last_layers, own_tensors
from unlearn.protocol import Request
from unlearn.training.labelled import LastLayersMethod


@dataclass(config=CLOSED, kw_only=True)
class ExactUnlearning(LastLayersMethod):
    """Train the teacher's last layers anew with the retain classes.

    Its settings are those of `LastLayersMethod`.
    """

    stage: ClassVar[str] = "eu_k"

    @torch.no_grad()
    def copy_teacher(self, request: Request) -> nn.Module:
        """Return a copy of the teacher whose last layers are fresh and alone can be trained."""
        student = super().copy_teacher(request)
        fresh = request.hardware.place(request.fresh())
        chosen = (find_last_layers(network, self.layers) for network in (student, fresh))
        for own, new in zip(*chosen, strict=True):
            for tensor, value in zip(own_tensors(own), own_tensors(new), strict=True):
                tensor.copy_(value)
        return student
