"""How much of a class comes back with little effort: from a new last layer, or from a few images.

Refitting the last layer: "An Illusion of Unlearning?", AISTATS 2026, arXiv 2604.08271.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from pydantic import PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from unlearn.config.schema import CLOSED
from unlearn.evaluation.audit import AuditedNetwork, AuditFigure, AuditFigures
from unlearn.evaluation.base import FigureName
from unlearn.evaluation.probe import fit_classifier
from unlearn.evaluation.relearn import Trainer


@dataclass(config=CLOSED)
class Recovery:
    """D_f after the last layer was refitted on all classes, and after k-shot relearning.

    Args:
        head_rows: Training rows of each class that the last layer is refitted on.
        shots: Each k: training rows of each class that a copy of the network is trained on.
        steps: Steps of this training, each on all the rows. Batch norm keeps its statistics.
        learning_rate: Learning rate of Adam.
    """

    head_rows: PositiveInt
    shots: tuple[PositiveInt, ...]
    steps: PositiveInt
    learning_rate: PositiveFloat
    needs_judge: ClassVar[bool] = False

    @property
    def figure_names(self) -> Mapping[str, FigureName]:
        """Names of the numbers."""
        shots = {f"shots-{k}": FigureName(f"{k}-shot D_f", "%") for k in self.shots}
        return {"head": FigureName("refitted D_f", "%"), **shots}

    def __call__(self, audited: AuditedNetwork, peers: Sequence[AuditedNetwork]) -> AuditFigures:
        """Return `head`, and `shots-K` for each k, percent."""
        found = {"head": self._refit_head(audited)}
        found |= {f"shots-{shots}": self._relearn(audited, shots) for shots in self.shots}
        return {
            name: AuditFigure(value, audited.forget_resolution) for name, value in found.items()
        }

    def _refit_head(self, audited: AuditedNetwork) -> float:
        """D_f of a logistic regression on the penultimate features."""
        from sklearn.preprocessing import StandardScaler

        train = audited.context.draw_training_rows(self.head_rows)
        test = audited.context.select_rows("forget")
        features, test_features = (
            [*audited.compute_features(rows).values()][-1].double().numpy()
            for rows in (train, test)
        )
        scaler = StandardScaler().fit(features)
        head = fit_classifier(scaler.transform(features), train.labels.cpu().numpy())
        answers = head.predict(scaler.transform(test_features))
        return 100 * float(np.mean(answers == test.labels.cpu().numpy()))

    def _relearn(self, audited: AuditedNetwork, shots: int) -> float:
        """D_f of a copy that was trained on `shots` rows of each class."""
        context, network = audited.context, audited.copy_to_train()
        rows = context.draw_training_rows(shots)
        trainer = Trainer(network, self.learning_rate, context.request.hardware)
        for _ in range(self.steps):
            trainer.step(rows.images, rows.labels)
        return audited.measure_forget_accuracy(network)
