"""D_r and D_f: accuracy on the retain classes and on the forget classes, in percent."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from unlearn.config.schema import CLOSED
from unlearn.data.tensors import Split
from unlearn.evaluation.audit import TEST_PARTS, AuditedNetwork, AuditFigure, AuditFigures
from unlearn.evaluation.base import FigureName, Figures, MetricContext, Models, measure_models
from unlearn.hardware import Hardware
from unlearn.models.outputs import compute_logits


def measure_accuracy(
    network: nn.Module, split: Split, forget: tuple[int, ...], hardware: Hardware
) -> dict[str, float | None]:
    """Measure the accuracy on the rows of the retain classes and on those of the forget classes.

    Args:
        network: In eval mode.
        split: N labelled images.
        forget: Forget classes.
        hardware: Precision and memory format.

    Returns:
        `retain` and `forget`, percent; None where there are no such rows.
    """
    correct = compute_logits(network, split.images, hardware).argmax(dim=1) == split.labels
    forgotten = torch.isin(split.labels, torch.tensor(forget, device=split.labels.device))
    return {"retain": _percent(correct[~forgotten]), "forget": _percent(correct[forgotten])}


def _percent(correct: Tensor) -> float | None:
    return 100 * correct.double().mean().item() if len(correct) else None


@dataclass(config=CLOSED)
class Accuracy:
    """D_r and D_f of every model on training and test rows, percent; each row counts the same."""

    needs_data: ClassVar[bool] = True
    figure_names: ClassVar[Mapping[str, FigureName]] = {
        f"{model}.test.{part}": FigureName(f"{prefix}{name}", "%")
        for model, prefix in (
            ("original", "original "),
            ("retrained", "retrained "),
            ("unlearned", ""),
        )
        for part, name in (("retain", "D_r"), ("forget", "D_f"))
    }

    def __call__(self, models: Models, context: MetricContext) -> Figures:
        """Measure all models.

        Returns:
            `{model: {"train" or "test": {"retain": D_r, "forget": D_f}}}`, and under
            `references` a list of the same.
        """
        data, request = context.data, context.request
        assert data is not None
        splits = {"train": data.train, "test": data.test}
        return measure_models(
            models,
            lambda network: {
                name: measure_accuracy(network, split, request.forget, request.hardware)
                for name, split in splits.items()
            },
            [self],
            context.measurements,
        )


@dataclass(config=CLOSED)
class AccuracyAudit:
    """Accuracy on the test rows of the retain classes and on those of the forget classes."""

    needs_judge: ClassVar[bool] = False
    figure_names: ClassVar[Mapping[str, FigureName]] = {
        "retain": FigureName("audit D_r", "%"),
        "forget": FigureName("audit D_f", "%"),
    }

    def __call__(self, audited: AuditedNetwork, peers: Sequence[AuditedNetwork]) -> AuditFigures:
        """Return `retain` and `forget`, percent."""
        found: dict[str, AuditFigure] = {}
        for part in TEST_PARTS:
            labels = audited.context.select_rows(part).labels
            correct = audited.compute_logits(part).argmax(dim=1) == labels
            found[part] = AuditFigure(100 * correct.double().mean().item(), 100 / len(labels))
        return found
