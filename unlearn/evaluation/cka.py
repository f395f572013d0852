"""Linear centred kernel alignment of each block's features to those of retrained networks.

"Similarity of Neural Network Representations Revisited", Kornblith et al., ICML 2019.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from unlearn.evaluation.audit import Figure, Findings, Part, Subject

_PARTS: tuple[Part, ...] = ("retain", "forget")


@dataclass(frozen=True)
class Alignment:
    """CKA (0 to 1) on test rows of the retain and of the forget classes apart, mean over peers."""

    needs_judge: bool = False

    def __call__(self, subject: Subject, peers: Sequence[Subject]) -> Findings:
        """`part/place` for each place where features are read; nothing without peers."""
        found = {}
        for part in _PARTS if peers else ():
            rows = subject.bench.rows(part)
            theirs = [peer.features(rows) for peer in peers]
            for place, features in subject.features(rows).items():
                alike = [linear_cka(features, other[place]) for other in theirs]
                found[f"{part}/{place}"] = Figure(sum(alike) / len(alike))
        return found


def linear_cka(one: Tensor, other: Tensor) -> float:
    """||Y'X||^2 / (||X'X|| ||Y'Y||) in Frobenius norms, of centred features X (N, D), Y (N, E).

    1 for features that differ by a rotation, a scale and a shift; 0 where either never changes.
    """
    x, y = (features.double() - features.double().mean(dim=0) for features in (one, other))
    across = (y.T @ x).square().sum()
    within = (x.T @ x).norm() * (y.T @ y).norm()
    return (across / within).item() if within > 0 else 0.0
