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
        assert models.retrained is not None
        figures: dict[str, Any] = {"floor": {}}
        for name, classes in (
            ("retain", data.retained(request.forget)),
            ("forget", request.forget),
        ):
            rows = data.test.only(classes)
            if not len(rows):
                figures[name] = figures["floor"][name] = None
                continue
            figures[name] = self._mean(models.unlearned, models.retrained, rows, request.hardware)
            figures["floor"][name] = self._floor(name, rows, models, setting)
        return figures

    def _floor(self, name: str, rows: Split, models: Models, setting: Setting) -> float | None:
        retrained, references = models.retrained, models.references
        assert retrained is not None
        hardware = setting.request.hardware
        apart: list[float] = setting.shelf.kept(
            [self, name],
            [retrained, *references],
            lambda: [self._mean(network, retrained, rows, hardware) for network in references],
        )
        return mean_of(apart)

    def _mean(
        self, network: nn.Module, reference: nn.Module, rows: Split, hardware: Hardware
    ) -> float:
        p, q = (_probabilities(either, rows, hardware) for either in (network, reference))
        return jensen_shannon(p, q).mean().item()


def _probabilities(network: nn.Module, rows: Split, hardware: Hardware) -> Tensor:
    return logits_of(network, rows, hardware).double().softmax(dim=1)


def jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    """Jensen-Shannon divergence in bits (N,) of probabilities (N, K); Lin, 1991."""
    middle = (p + q) / 2
    halves = [torch.xlogy(x, x) - torch.xlogy(x, middle) for x in (p, q)]
    return (torch.stack(halves).sum(dim=(0, 2)) / 2 / torch.log(p.new_tensor(2.0))).clamp(min=0)
