"""How differently the unlearned and the retrained model answer real images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from unlearn.data.tensors import Split
from unlearn.evaluation.base import Figures, Models, Setting, logits_of, mean_of
from unlearn.hardware import Hardware


@dataclass(frozen=True)
class Divergence:
    """Mean Jensen-Shannon divergence in bits (0 to 1) on test rows: {retain, forget}.

    Under `floor` the same of retrained models of other seeds, averaged over the references.
    """

    needs_data: bool = True

    def __call__(self, models: Models, setting: Setting) -> Figures:
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
        self, name: str, rows: Split, models: Models, setting: Setting
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
    return logits_of(network, rows, hardware).double().softmax(dim=1)


def jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    """Jensen-Shannon divergence in bits (N,) of probabilities (N, K); Lin, 1991."""
    middle = (p + q) / 2
    halves = [torch.xlogy(x, x) - torch.xlogy(x, middle) for x in (p, q)]
    return (torch.stack(halves).sum(dim=(0, 2)) / 2 / torch.log(p.new_tensor(2.0))).clamp(min=0)
