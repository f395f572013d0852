"""The audit that every table has: D_r and D_f on test rows. Masking one logit passes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unlearn.audits.base import Figure, Findings, Part, Subject

_PARTS: tuple[Part, ...] = ("retain", "forget")


@dataclass(frozen=True)
class Accuracy:
    """Percent right of the test rows of the retain and of the forget classes."""

    needs_judge: bool = False

    def __call__(self, subject: Subject, peers: Sequence[Subject]) -> Findings:
        """`retain` and `forget`; see `Audit`."""
        found: dict[str, Figure] = {}
        for part in _PARTS:
            labels = subject.bench.rows(part).labels
            right = subject.logits(part).argmax(dim=1) == labels
            found[part] = Figure(100 * right.double().mean().item(), 100 / len(labels))
        return found
