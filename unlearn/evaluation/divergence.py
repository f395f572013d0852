"""Jensen-Shannon divergence between the class probabilities of two networks.

"Divergence measures based on the Shannon entropy", Lin, IEEE Transactions on Information
Theory, 1991.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from unlearn.config.schema import CLOSED
from unlearn.data.tensors import Split
from unlearn.evaluation.audit import TEST_PARTS, AuditedNetwork, AuditFigure, AuditFigures
from unlearn.evaluation.base import FigureName, Figures, MetricContext, Models, average
from unlearn.models.outputs import compute_logits


def compute_jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    """Compute the Jensen-Shannon divergence of each pair of rows, in bits.

    Args:
        p: Probabilities (N, K).
        q: Probabilities (N, K).

    Returns:
        Divergences (N,), from 0 to 1.
    """
    middle = (p + q) / 2
    halves = [torch.xlogy(x, x) - torch.xlogy(x, middle) for x in (p, q)]
    return (torch.stack(halves).sum(dim=(0, 2)) / 2 / torch.log(p.new_tensor(2.0))).clamp(min=0)


@dataclass(config=CLOSED)
class Divergence:
    """Mean divergence of the unlearned from the retrained model on test rows, in bits (0 to 1)."""

    needs_data: ClassVar[bool] = True
    figure_names: ClassVar[Mapping[str, FigureName]] = {
        "forget": FigureName("JS forget", "bits"),
        "floor.forget": FigureName("JS floor", "bits"),
    }

    def __call__(self, models: Models, context: MetricContext) -> Figures:
        """Compare the models.

        Returns:
            `retain` and `forget`, None for a part without test rows; under `floor` the same
            divergences of the references from the retrained model, averaged, None without
            references.
        """
        data, request = context.data, context.request
        assert data is not None
        figures: dict[str, Any] = {"floor": {}}
        for part, classes in (("retain", request.retain), ("forget", request.forget)):
            rows = data.test.only(classes)
            figures[part], figures["floor"][part] = (
                self._compare(part, rows, models, context) if len(rows) else (None, None)
            )
        return figures

    def _compare(
        self, part: str, rows: Split, models: Models, context: MetricContext
    ) -> tuple[float, float | None]:
        """The divergences of the unlearned model and of the references from the retrained one."""
        retrained, references = models.retrained, models.references
        assert retrained is not None

        def compute_probabilities(network: nn.Module) -> Tensor:
            logits = compute_logits(network, rows.images, context.request.hardware)
            return logits.double().softmax(dim=1)

        expected = compute_probabilities(retrained)

        def measure(network: nn.Module) -> float:
            return compute_jensen_shannon(compute_probabilities(network), expected).mean().item()

        floor: list[float] = context.measurements.get_or_measure(
            [self, part], [retrained, *references], lambda: [measure(other) for other in references]
        )
        return measure(models.unlearned), average(floor)


@dataclass(config=CLOSED)
class DivergenceAudit:
    """Divergence from each peer in bits (0 to 1), averaged over test rows and peers."""

    needs_judge: ClassVar[bool] = False
    figure_names: ClassVar[Mapping[str, FigureName]] = {
        "retain": FigureName("audit JS retain", "bits"),
        "forget": FigureName("audit JS forget", "bits"),
    }

    def __call__(self, audited: AuditedNetwork, peers: Sequence[AuditedNetwork]) -> AuditFigures:
        """Return `retain` and `forget`; nothing without peers."""
        found: dict[str, AuditFigure] = {}
        for part in TEST_PARTS if peers else ():
            own, *others = [
                network.compute_logits(part).double().softmax(dim=1)
                for network in (audited, *peers)
            ]
            divergences = torch.stack(
                [compute_jensen_shannon(own, other).mean() for other in others]
            )
            found[part] = AuditFigure(divergences.mean().item())
        return found
