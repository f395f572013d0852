"""Linear centred kernel alignment (CKA) of features with those of retrained networks.

"Similarity of Neural Network Representations Revisited", Kornblith et al., ICML 2019.
"""

from collections.abc import Sequence
from typing import ClassVar

from pydantic.dataclasses import dataclass
from torch import Tensor

from unlearn.config.schema import CLOSED
from unlearn.evaluation.audit import TEST_PARTS, AuditedNetwork, AuditFigure, AuditFigures


@dataclass(config=CLOSED)
class Alignment:
    """Linear CKA (0 to 1) with each peer, averaged over the peers.

    The test rows of the retain classes and those of the forget classes are compared apart.
    """

    needs_judge: ClassVar[bool] = False

    def __call__(self, audited: AuditedNetwork, peers: Sequence[AuditedNetwork]) -> AuditFigures:
        """Return `PART/PLACE` for each part and each place of features; nothing without peers."""
        found = {}
        for part in TEST_PARTS if peers else ():
            rows = audited.context.select_rows(part)
            others = [peer.compute_features(rows) for peer in peers]
            for place, features in audited.compute_features(rows).items():
                alignments = [compute_linear_cka(features, other[place]) for other in others]
                found[f"{part}/{place}"] = AuditFigure(sum(alignments) / len(alignments))
        return found


def compute_linear_cka(one: Tensor, other: Tensor) -> float:
    """Compute ||Y'X||^2 / (||X'X|| ||Y'Y||) in Frobenius norms; Kornblith et al., table 1.

    Args:
        one: Features X (N, D), centred here.
        other: Features Y (N, E) of the same images, centred here.

    Returns:
        A value from 0 to 1: 1 for features that differ by a rotation, a scale and a shift; 0 if
        either features are constant.
    """
    x, y = (features.double() - features.double().mean(dim=0) for features in (one, other))
    across = (y.T @ x).square().sum()
    within = (x.T @ x).norm() * (y.T @ y).norm()
    return (across / within).item() if within > 0 else 0.0
