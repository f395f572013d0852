"""NegGrad+: descend on the retain classes and ascend on the forget classes, in each step.

    for each batch (X_R, Y_R) of the retain classes, S starting from the teacher T:
        (X_F, Y_F) = the next batch of the forget classes, again and again
        minimise alpha * CE(S(X_R), Y_R) - (1 - alpha) * CE(S(X_F), Y_F)

The strong baseline of "Towards Unbounded Machine Unlearning" (Kurmanji et al., NeurIPS 2023,
section 4), as in its code (`train_negrad`): SGD without momentum. On inverted images
(`method/source=inverted`) it needs no data.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, ClassVar

import torch
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.optim import Optimizer

from unlearn.config.schema import CLOSED
from unlearn.optimizers import SGD
from unlearn.protocol import Request
from unlearn.synthesis.sources import Examples, WantedClasses
from unlearn.training.labelled import EpochMethod
from unlearn.training.loops import Pass, shuffle
from unlearn.training.losses import make_class_loss


@dataclass(config=CLOSED, kw_only=True)
class NegGradPlus(EpochMethod):
    """Train the teacher down the retain loss and up the forget loss at once.

    Args: those of `EpochMethod` (epochs and batches of the retain images), and
        forget_batch_size: Forget images of a step, at least 1.
        retain_weight: Weight of the loss on retain images (alpha), in [0, 1]; the loss on forget
            images is subtracted with the rest.
    """

    wanted: ClassVar[WantedClasses] = "all"
    stage: ClassVar[str] = "neggrad_plus"
    forget_batch_size: PositiveInt
    retain_weight: Annotated[float, Field(ge=0, le=1)]

    def make_optimizer(self, student: nn.Module) -> Optimizer:
        """SGD without momentum."""
        return SGD(student.parameters(), self.learning_rate)

    def make_passes(
        self, student: nn.Module, examples: Examples, request: Request, random: torch.Generator
    ) -> Callable[[int], Iterable[Pass]]:
        """One pass over the retain rows, each batch beside a batch of forget rows."""
        forget, retain = examples.of(request.forget), examples.of(request.retain)
        rise, fall = (make_class_loss(student, e, request.hardware) for e in (forget, retain))

        def repeat() -> Iterator[Tensor]:
            while True:
                count, device = len(forget.labels), request.hardware.device
                yield from shuffle(count, self.forget_batch_size, random, device)

        def passes(_: int) -> list[Pass]:
            batches = repeat()  # anew in each epoch, so that a resumed run draws the same ones

            def loss_of(rows: Tensor) -> Tensor:
                down, up = fall(rows), rise(next(batches))
                return self.retain_weight * down - (1 - self.retain_weight) * up

            return [Pass(self.stage, loss_of, len(retain.labels), self.batch_size)]

        return passes
