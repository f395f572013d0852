"""Jensen-Shannon divergence between the answers of two networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from unlearn.data.tensors import Split
from unlearn.evaluation.audit import Figure, Findings, Part, Subject
from unlearn.evaluation.base import Figures, MetricContext, Models, mean_of
from unlearn.hardware import Hardware
from unlearn.models.outputs import compute_logits


@dataclass(frozen=True)
class Divergence:
    """Mean Jensen-Shannon divergence in bits (0 to 1) on test rows: {retain, forget}.

    Under `floor` the same of retrained models of other seeds, averaged over the references.
    """

    needs_data: bool = True

    def __call__(self, models: Models, setting: MetricContext) -> Figures:
        """Compare unlearned with retrained; see `Metric`."""
        data, request = setting.data, setting.request
        assert data is not None
        figures: dict[str, Any] = {"floor": {}}
        for name, classes in (
            ("retain", data.retained(request.forget)),
            ("forget", request.forget),
        ):
            rows = data.test.only(classes)
            if not len(rows):
                figures[name] = figures["floor"][name] = None
                continue
            figures[name], figures["floor"][name] = self._apart(name, rows, models, setting)
        return figures

    def _apart(
        self, name: str, rows: Split, models: Models, setting: MetricContext
    ) -> tuple[float, float | None]:
        """How far unlearned is from retrained on these rows, and how far the references are."""
        hardware, references = setting.request.hardware, models.references
        retrained = models.retrained
        assert retrained is not None
        reached = _probabilities(retrained, rows, hardware)

        def mean(network: nn.Module) -> float:
            answers = _probabilities(network, rows, hardware)
            return jensen_shannon(answers, reached).mean().item()

        floor: list[float] = setting.shelf.kept(
            [self, name], [retrained, *references], lambda: [mean(other) for other in references]
        )
        return mean(models.unlearned), mean_of(floor)


def _probabilities(network: nn.Module, rows: Split, hardware: Hardware) -> Tensor:
    return compute_logits(network, rows.images, hardware).double().softmax(dim=1)


def jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    """Jensen-Shannon divergence in bits (N,) of probabilities (N, K); Lin, 1991."""
    middle = (p + q) / 2
    halves = [torch.xlogy(x, x) - torch.xlogy(x, middle) for x in (p, q)]
    return (torch.stack(halves).sum(dim=(0, 2)) / 2 / torch.log(p.new_tensor(2.0))).clamp(min=0)


_PARTS: tuple[Part, ...] = ("retain", "forget")


@dataclass(frozen=True)
class DivergenceAudit:
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
