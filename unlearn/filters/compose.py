"""Combined filters: a row's weight is the product of the weights that its filters give it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from unlearn.filters.base import Filter
from unlearn.filters.entropy import Definition, EntropyFilter
from unlearn.filters.gate import ForgetGate


@dataclass(frozen=True)
class Product:
    """The product of named filters; without filters, every row has weight 1."""

    parts: dict[str, Filter]

    def __str__(self) -> str:
        return ", ".join(f"{name}: {part}" for name, part in self.parts.items())

    def __call__(self, logits: Tensor, forget: Tensor) -> Tensor:
        """Row weights (B,); arguments as in `Filter`."""
        weights = torch.ones_like(logits[:, 0])
        for part in self.parts.values():
            weights = weights * part(logits, forget)
        return weights


def gate_and_entropy(
    gate: float | None, entropy: float | None, entropy_definition: Definition
) -> Product:
    """Combine the forget gate and the entropy filter; a threshold of None disables a filter."""
    parts: dict[str, Filter] = {}
    if gate is not None:
        parts["gate"] = ForgetGate(gate)
    if entropy is not None:
        parts["entropy"] = EntropyFilter(entropy, entropy_definition)
    return Product(parts)


def pass_rates(filter: Filter, logits: Tensor, forget: Tensor) -> dict[str, Tensor]:
    """Return the mean row weight of a filter and of each of its parts, on the device."""
    rates = {"pass_rate": filter(logits, forget).mean()}
    if isinstance(filter, Product):
        for name, part in filter.parts.items():
            rates[f"pass_rate.{name}"] = part(logits, forget).mean()
    return rates
