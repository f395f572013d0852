"""How readily the forgotten class is read out of each block's features.

After "An Illusion of Unlearning?" (AISTATS 2026, arXiv 2604.08271), with few labels; see
`unlearn.evaluation.probe`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import PositiveInt
from pydantic.dataclasses import dataclass

from unlearn.audits.base import Figure, Findings, Subject
from unlearn.config import CLOSED
from unlearn.evaluation.probe import readout


@dataclass(config=CLOSED)
class BlockProbe:
    """Balanced accuracy of a linear probe of a few labelled rows, percent, block by block.

    Args:
        shots: labelled training rows of each class.
        draws: of those rows, over which the score is averaged.
    """

    shots: PositiveInt
    draws: PositiveInt
    needs_judge: bool = False

    def __call__(self, subject: Subject, peers: Sequence[Subject]) -> Findings:
        """One number a place where features are read; see `Audit`."""
        bench = subject.bench
        taught = bench.taught(self.shots * self.draws)
        labels = taught.labels.cpu().numpy()
        asked = [bench.rows(part) for part in ("retain", "forget")]
        truth = np.concatenate([rows.labels.cpu().numpy() for rows in asked])
        unseen = [subject.features(rows) for rows in asked]
        return {
            place: Figure(
                readout(
                    known.double().numpy(),
                    labels,
                    np.concatenate([features[place].double().numpy() for features in unseen]),
                    truth,
                    bench.request.forget,
                    shots=self.shots,
                    draws=self.draws,
                )
            )
            for place, known in subject.features(taught).items()
        }
