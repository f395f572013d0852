"""Concentration: whether the images of the forget classes lie in one direction of the features."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor

from unlearn.config.schema import CLOSED
from unlearn.evaluation.audit import AuditedNetwork, AuditFigure, AuditFigures
from unlearn.evaluation.base import FigureName


def compute_concentration(features: Tensor, centre: Tensor) -> float:
    """Compute the length of the mean unit vector from a centre to the rows of features.

    It is the mean resultant length of directional statistics ("Directional Statistics", Mardia
    and Jupp, 2000, section 9.2): |mean of (x - centre) / |x - centre||.

    Args:
        features: Rows x (N, D). A row at the centre has no direction and counts as zero.
        centre: Point (D,) from which directions are taken.

    Returns:
        A value from 0 (directions cancel out) to 1 (all rows in one direction).
    """
    return float(F.normalize(features - centre, dim=1).mean(dim=0).norm())


@dataclass(config=CLOSED)
class Concentration:
    """Concentration (0 to 1) of the forget classes' penultimate features on test rows.

    Directions are taken from the mean feature of the retain classes' test rows. A network that
    has learnt a class maps the images of the class to one direction.
    """

    needs_judge: ClassVar[bool] = False
    figure_names: ClassVar[Mapping[str, FigureName]] = {"forget": FigureName("concentration")}

    def __call__(self, audited: AuditedNetwork, peers: Sequence[AuditedNetwork]) -> AuditFigures:
        """Return `forget`."""
        place = audited.find_last_place()
        retain, forget = (
            audited.compute_features(audited.context.select_rows(part))[place].double()
            for part in ("retain", "forget")
        )
        return {"forget": AuditFigure(compute_concentration(forget, retain.mean(dim=0)))}
