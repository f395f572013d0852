"""Membership from the neighbouring classes alone, where hiding a logit leaves everything as it was.

After "MIA-NN" (arXiv 2506.20893): an unlearned sample is known by the probabilities of the classes
beside its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from unlearn.audits.base import Findings, Subject
from unlearn.audits.likelihood import attacked
from unlearn.evaluation.divergence import jensen_shannon


@dataclass(frozen=True)
class NeighbourMembership:
    """How far a network's answers to forgotten rows are from those of networks without the class.

    Answers are the probabilities of the retain classes, renormalised. A row's score is their
    Jensen-Shannon divergence from the shadow models' mean answer, bits.
    """

    needs_judge: bool = False

    def __call__(self, subject: Subject, peers: Sequence[Subject]) -> Findings:
        """`auc`, `tpr` and `excess` (bits), as `attacked` gives them."""
        retain = list(subject.bench.request.retain)
        target, *others = [
            one.logits("members")[:, retain].double().softmax(dim=1) for one in (subject, *peers)
        ]
        return attacked(target, others, _surprise)


def _surprise(answers: Tensor, shadows: Tensor) -> Tensor:
    return jensen_shannon(answers, shadows.mean(dim=0))
