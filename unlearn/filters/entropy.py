"""The entropy filter: keeps the samples on which the teacher's entropy is low."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Definition = Literal["all", "retain", "normalised", "quantile"]


@dataclass(frozen=True)
class EntropyFilter:
    """Keeps a row iff the entropy of the teacher's prediction is at most `threshold`.

    Args:
        threshold: Nats for `all` and `retain`; in [0, 1] for `normalised` and `quantile`.
        definition: `all`: H(softmax T(x)) over all classes; `retain`: over the retain classes,
            renormalised; `normalised`: over all classes, divided by ln K; `quantile`: keeps the
            share `threshold` of the batch with the lowest entropy over all classes.
    """

    threshold: float
    definition: Definition = "all"

    def __call__(self, logits: Tensor, forget: Tensor) -> Tensor:
        """Row weights (B,), 0 or 1; arguments as in `Filter`."""
        masked = logits.masked_fill(forget, -torch.inf) if self.definition == "retain" else logits
        entropies = entropy(masked)
        if self.definition == "normalised":
            entropies = entropies / math.log(logits.shape[1])
        limit: float | Tensor = self.threshold
        if self.definition == "quantile":
            limit = entropies.sort().values[math.floor(self.threshold * (len(entropies) - 1))]
        return (entropies <= limit).to(logits.dtype)


def entropy(logits: Tensor) -> Tensor:
    """Entropy in nats (B,) of softmax(logits) for logits (B, K), where -inf has no mass."""
    log_probabilities = logits.log_softmax(dim=1)
    return -(log_probabilities.exp() * log_probabilities.clamp(min=-1e4)).sum(dim=1)
