"""Linear probes of the penultimate features, for the forget classes and for each retain class.

The probe of the forget classes shows what was kept. The probe of a retain class shows what was
damaged: wrecked features lower both.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from pydantic import NonNegativeInt
from pydantic.dataclasses import dataclass

from unlearn.config.schema import CLOSED
from unlearn.evaluation.audit import TEST_PARTS, AuditedNetwork, AuditFigure, AuditFigures
from unlearn.evaluation.base import FigureName
from unlearn.evaluation.probe import FewShotProbe, gather_features


@dataclass(config=CLOSED)
class ClassProbe(FewShotProbe):
    """Score of a linear probe of the penultimate features, in percent.

    Each draw of labelled rows is fitted once and scored for all classes. All runs draw the same
    rows, so that networks of different runs can be compared.

    Args:
        seed: Seed of the draws.
    """

    seed: NonNegativeInt
    needs_judge: ClassVar[bool] = False
    figure_names: ClassVar[Mapping[str, FigureName]] = {
        "forget": FigureName("audit probe forget", "%"),
        "retain": FigureName("audit probe retain", "%"),
    }

    def __call__(self, audited: AuditedNetwork, peers: Sequence[AuditedNetwork]) -> AuditFigures:
        """Return the scores.

        Returns:
            `forget`: the score of the forget classes; `retain`: the score of one retain class
            against all other classes, averaged over the retain classes that have test rows.
        """
        context, place = audited.context, audited.find_last_place()
        drawn = context.draw_training_rows(self.shots * self.draws, self.seed)
        train = gather_features(audited, [drawn], place)
        test = gather_features(audited, [context.select_rows(part) for part in TEST_PARTS], place)
        request = context.request
        retain = [(c,) for c in request.retain if c in test[1]]
        forget, *others = self.score_each(train, test, [request.forget, *retain])
        return {"forget": AuditFigure(forget), "retain": AuditFigure(float(np.mean(others)))}
