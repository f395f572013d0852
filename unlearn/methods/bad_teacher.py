"""Bad teacher: an untrained network teaches the forget classes, the original all others.

    X = images of all classes
    p = softmax of an untrained network's logits on X of the forget classes, of T's on the others
    minimise KL(p || S(X)) over S, starting from the teacher T

"Can Bad Teaching Induce Forgetting?" (Chundawat et al., AAAI 2023). As in its code (`unlearn.py`,
`UnlearnerLoss`), with Adam and both teachers in eval mode. The paper draws 30% of the retain
images. Here all take part, or at most `method.source.most` of each class. On inverted images
(`method/source=inverted`) it needs no data.
"""

from collections.abc import Callable
from typing import ClassVar

import torch
from pydantic import PositiveFloat
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from unlearn.config.schema import CLOSED
from unlearn.models.outputs import compute_logits
from unlearn.optimizers import Adam
from unlearn.protocol import Request
from unlearn.synthesis.sources import Examples, WantedClasses
from unlearn.training.labelled import EpochMethod
from unlearn.training.losses import make_target_loss, target_probabilities


@dataclass(config=CLOSED, kw_only=True)
class BadTeacher(EpochMethod):
    """Teach the teacher an untrained network's answers on the forget classes, its own elsewhere.

    Args: those of `EpochMethod` (the optimiser is Adam), and
        temperature: Temperature of all softmaxes, above 0.
    """

    wanted: ClassVar[WantedClasses] = "all"
    stage: ClassVar[str] = "bad_teacher"
    temperature: PositiveFloat

    def make_optimizer(self, student: nn.Module) -> Adam:
        """Adam, as in the published code."""
        return Adam(student.parameters(), self.learning_rate)

    def make_loss(
        self, student: nn.Module, examples: Examples, request: Request, random: torch.Generator
    ) -> Callable[[Tensor], Tensor]:
        """KL(p || S(X))."""
        target = self.make_targets(request, examples)
        return make_target_loss(
            student, examples.images, target, request.hardware, self.temperature
        )

    def make_targets(self, request: Request, examples: Examples) -> Tensor:
        """Probabilities that the student is taught on each image, (N, K)."""
        untrained = request.hardware.place(request.fresh()).eval()
        bad, good = (
            target_probabilities(
                compute_logits(network, examples.images, request.hardware, self.batch_size),
                request.forget_mask,
                "raw",
                self.temperature,
            )
            for network in (untrained, request.teacher)
        )
        return torch.where(request.forget_mask[examples.labels][:, None], bad, good)
