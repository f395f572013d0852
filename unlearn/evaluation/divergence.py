"""How differently the unlearned and the retrained model answer real images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unlearn.evaluation.base import Figures, Models, Setting, logits_of


@dataclass(frozen=True)
class Divergence:
    """Mean Jensen-Shannon divergence in bits (0 to 1) on test rows: {retain, forget}."""

    needs_data: bool = True

    def __call__(self, models: Models, setting: Setting) -> Figures:
        """Compare unlearned with retrained; see `Metric`."""
        data, request = setting.data, setting.request
        assert data is not None
        assert models.retrained is not None
        figures = {}
        for name, classes in (
            ("retain", data.retained(request.forget)),
            ("forget", request.forget),
        ):
            rows = data.test.only(classes)
            p, q = (
                logits_of(network, rows, request.hardware).double().softmax(dim=1)
                for network in (models.unlearned, models.retrained)
            )
            figures[name] = jensen_shannon(p, q).mean().item() if len(rows) else None
        return figures


def jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    """Jensen-Shannon divergence in bits (N,) of probabilities (N, K); Lin, 1991."""
    middle = (p + q) / 2
    halves = [torch.xlogy(x, x) - torch.xlogy(x, middle) for x in (p, q)]
    return (torch.stack(halves).sum(dim=(0, 2)) / 2 / torch.log(p.new_tensor(2.0))).clamp(min=0)
