"""D_r and D_f: accuracy on the retain classes and on the forget classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unlearn.evaluation.audit import Figure, Findings, Part, Subject
from unlearn.evaluation.base import Figures, MetricContext, Models, measure_accuracy, measure_models


@dataclass(frozen=True)
class Accuracy:
    """Accuracy in percent, weighted by sample: {model: {train|test: {retain, forget}}}."""

    needs_data: bool = True

    def __call__(self, models: Models, setting: MetricContext) -> Figures:
        """Measure all models; see `Metric`."""
        data, request = setting.data, setting.request
        assert data is not None
        splits = {"train": data.train, "test": data.test}
        return measure_models(
            models,
            lambda network: {
                name: measure_accuracy(network, split, request.forget, request.hardware)
                for name, split in splits.items()
            },
            [self],
            setting.shelf,
        )


_PARTS: tuple[Part, ...] = ("retain", "forget")


@dataclass(frozen=True)
class AccuracyAudit:
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
