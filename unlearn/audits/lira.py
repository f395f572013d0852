"""Membership of each forgotten training row, by a likelihood ratio with retrained shadow models.

"Membership Inference Attacks From First Principles", Carlini et al., S&P 2022, offline; for
unlearning: U-LiRA, Hayes et al., SaTML 2025, whose shadows are unlearned as well. Here they are the
retrained networks, which costs no further unlearning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unlearn.audits.base import Findings, Subject
from unlearn.audits.likelihood import attacked


@dataclass(frozen=True)
class LikelihoodRatio:
    """How much surer of a forgotten row's class a network is than networks that never saw it.

    The statistic is the logit-scaled confidence log(p / (1 - p)) of the true class. It is
    Gaussian over the shadows, with a mean for each row and, as advised where shadows are few,
    one variance for all, of which the ranking does not depend.
    """

    needs_judge: bool = False

    def __call__(self, subject: Subject, peers: Sequence[Subject]) -> Findings:
        """`auc`, `tpr` and `excess` (nats of log-odds), as `attacked` gives them."""
        labels = subject.bench.rows("members").labels
        target, *others = [
            scaled_confidence(one.logits("members"), labels) for one in (subject, *peers)
        ]
        return attacked(target, others, lambda found, shadows: found - shadows.mean(dim=0))


def scaled_confidence(logits: Tensor, labels: Tensor) -> Tensor:
    """log(p / (1 - p)) of each row's class (N,), of logits (N, K), without rounding p to 0 or 1."""
    logits, own = logits.double(), labels[:, None]
    others = logits.scatter(1, own, -torch.inf).logsumexp(dim=1)
    return logits.gather(1, own).squeeze(1) - others
