"""The reference that has never seen the forget classes: training anew on retain data."""

from __future__ import annotations

from dataclasses import dataclass

from unlearn.config.schema import TrainingConfig
from unlearn.data.tensors import Access, Split
from unlearn.protocol import Request, State, Steps
from unlearn.training.supervised import train


@dataclass(frozen=True, kw_only=True)
class Retrain:
    """Trains a fresh network on the retain classes, from another seed than the run's reference.

    Args: those of `TrainingConfig` but the seed, which is the request's and not the reference's:
        its figures beside the reference's show the spread between retrained models.
    """

    epochs: int
    batch_size: int
    optimizer: str
    learning_rate: float
    weight_decay: float

    @property
    def access(self) -> Access:
        """The retain classes of the training set."""
        return "retain"

    def unlearn(self, request: Request, data: Split | None) -> Steps:
        """Yield the state after each epoch; see `Method`."""
        assert data is not None
        settings = TrainingConfig.model_validate({**self.__dict__, "seed": request.seed})
        student = request.hardware.place(request.fresh())
        steps = train(student, data, settings, request.hardware, request.progress, replay=False)
        for epoch, loss in steps:
            yield State("retrain", epoch, self.epochs, student, {"loss": loss})
