"""Bad teacher: an untrained network teaches the forget classes, the original all others.

    X = images of all classes
    p = softmax of an untrained network's logits on X of the forget classes, of T's on the others
    minimise KL(p || S(X)) over S, starting from the teacher T

"Can Bad Teaching Induce Forgetting?" (Chundawat et al., AAAI 2023). As in its code (`unlearn.py`,
`UnlearnerLoss`), with Adam and both teachers in eval mode. The paper draws 30% of the retain
images. Here all take part, or at most `method.source.most` of each class. On inverted images
(`method/source=inverted`) it needs no data.
"""

from typing import ClassVar

import torch
from pydantic import PositiveFloat
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.optim import Adam

from unlearn.config.schema import CLOSED
from unlearn.data.tensors import Split
from unlearn.models.outputs import compute_logits
from unlearn.protocol import Request, Steps
from unlearn.synthesis.sources import Examples, WantedClasses
from unlearn.training.labelled import EpochMethod
from unlearn.training.losses import make_target_loss, target_probabilities
from unlearn.training.student import copy_teacher


@dataclass(config=CLOSED, kw_only=True)
class BadTeacher(EpochMethod):
    """Teach the teacher an untrained network's answers on the forget classes, its own elsewhere.

    Args: those of `EpochMethod` (the optimiser is Adam), and
        temperature: Temperature of all softmaxes, above 0.
    """

    wanted: ClassVar[WantedClasses] = "all"
    temperature: PositiveFloat

    def unlearn(self, request: Request, data: Split | None) -> Steps:
        """Yield the state after each step of the source and each epoch; see `Method`."""
        random, hardware = torch.Generator().manual_seed(request.seed), request.hardware
        examples = yield from self.collect(request, data, random)
        target = self.make_targets(request, examples)
        student = copy_teacher(request)
        optimizer = Adam(student.parameters(), self.learning_rate)
        loss_of = make_target_loss(student, examples.images, target, hardware, self.temperature)
        rows = len(target)
        yield from self.train("bad_teacher", student, optimizer, loss_of, rows, request, random)

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
