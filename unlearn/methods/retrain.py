"""The reference that never saw the forget classes: a fresh network trained on the retain data."""

import dataclasses
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from unlearn.config.schema import CLOSED, AugmentConfig, TrainingConfig
from unlearn.data.tensors import Access, Split
from unlearn.protocol import Request, State, Steps
from unlearn.training.supervised import train


@dataclass(config=CLOSED, kw_only=True)
class Retrain:
    """Train a fresh network on the retain classes, from another seed than the run's reference.

    The difference between its figures and the reference's shows the spread of retrained networks.

    Args:
        epochs: Passes over the images, at least 1.
        batch_size: Images of a step, at least 1.
        optimizer: `adamw`, `sgd` with Nesterov momentum 0.9, or `muon`.
        learning_rate: Largest learning rate of the one-cycle schedule, above 0.
        weight_decay: Weight decay, at least 0.
        augment: Random crops and flips; see `unlearn.training.augmentation.augment`.
        label_smoothing: Share of each target that is spread over all classes, in [0, 1).
    """

    epochs: PositiveInt
    batch_size: PositiveInt
    optimizer: Literal["adamw", "sgd", "muon"]
    learning_rate: PositiveFloat
    weight_decay: NonNegativeFloat
    augment: AugmentConfig = AugmentConfig()
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0

    @property
    def access(self) -> Access:
        """The retain classes of the training set."""
        return "retain"

    def unlearn(self, request: Request, data: Split | None) -> Steps:
        """Yield the state after each epoch; see `Method`."""
        assert data is not None
        settings = TrainingConfig(**dataclasses.asdict(self), seed=request.seed)
        student = request.hardware.place(request.fresh())
        steps = train(student, data, settings, request.hardware, request.progress, replay=False)
        for epoch, loss in steps:
            yield State("retrain", epoch, self.epochs, student, {"loss": loss})
