"""How differently a network answers real images from retrained ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from unlearn.audits.base import Figure, Findings, Part, Subject
from unlearn.evaluation.divergence import jensen_shannon

_PARTS: tuple[Part, ...] = ("retain", "forget")


@dataclass(frozen=True)
class Divergence:
    """Jensen-Shannon divergence (Lin, 1991) from each peer, bits, mean over test rows and peers."""

    needs_judge: bool = False

    def __call__(self, subject: Subject, peers: Sequence[Subject]) -> Findings:
        """`retain` and `forget`, nothing without peers; see `Audit`."""
        found: dict[str, Figure] = {}
        for part in _PARTS if peers else ():
            answers = subject.logits(part).double().softmax(dim=1)
            theirs = [peer.logits(part).double().softmax(dim=1) for peer in peers]
            apart = torch.stack([jensen_shannon(answers, other).mean() for other in theirs])
            found[part] = Figure(apart.mean().item())
        return found
