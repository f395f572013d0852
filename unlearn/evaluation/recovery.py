"""How much of the class comes back with little effort: a new last layer, or a few images.

Refitting the head: "An Illusion of Unlearning?" (AISTATS 2026, arXiv 2604.08271).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from unlearn.config.schema import CLOSED
from unlearn.evaluation.audit import Figure, Findings, Subject
from unlearn.evaluation.probe import classifier
from unlearn.evaluation.relearn import Trainer


@dataclass(config=CLOSED)
class Recovery:
    """D_f after the head was refitted on all classes, and after k-shot relearning.

    Args:
        head_rows: training rows of each class that the head is refitted on.
        shots: each k: images of every class that a copy is trained on.
        steps: of that training, the whole handful in each; batch norm keeps its statistics.
        learning_rate: of Adam.
    """

    head_rows: PositiveInt
    shots: tuple[PositiveInt, ...]
    steps: PositiveInt
    learning_rate: PositiveFloat
    needs_judge: bool = False

    def __call__(self, subject: Subject, peers: Sequence[Subject]) -> Findings:
        """`head`, and `shots-k` for each k, percent; see `Audit`."""
        found = {"head": Figure(self._head(subject), subject.resolution)}
        for shots in self.shots:
            right = self._relearned(subject, shots)
            found[f"shots-{shots}"] = Figure(right, subject.resolution)
        return found

    def _head(self, subject: Subject) -> float:
        """By logistic regression on the penultimate features."""
        from sklearn.preprocessing import StandardScaler

        taught, asked = subject.bench.taught(self.head_rows), subject.bench.rows("forget")
        known, unseen = (
            [*subject.features(rows).values()][-1].double().numpy() for rows in (taught, asked)
        )
        scaler = StandardScaler().fit(known)
        head = classifier(scaler.transform(known), taught.labels.cpu().numpy())
        answers = head.predict(scaler.transform(unseen))
        return 100 * float(np.mean(answers == asked.labels.cpu().numpy()))

    def _relearned(self, subject: Subject, shots: int) -> float:
        network, rows = subject.to_train(), subject.bench.taught(shots)
        trainer = Trainer(network, self.learning_rate, subject.bench.request.hardware)
        for _ in range(self.steps):
            trainer.step(rows.images, rows.labels)
        return subject.right(network)
