"""Copies of networks, also of those that keep tensors which were computed from their weights."""

import copy
from collections.abc import Iterator
from typing import Any, TypeVar

from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


def copy_network(network: Network) -> Network:
    """Return an independent copy of a network.

    `copy.deepcopy` refuses tensors that were computed with gradients. Layers under
    `torch.nn.utils.weight_norm`, `spectral_norm` and `prune` keep such a tensor as their weight,
    and some networks keep their last activations. The copy holds the values of these tensors
    without their history; the layers compute them anew at each call.
    """
    computed = {
        id(tensor): tensor.detach().clone()
        for module in network.modules()
        for tensor in _tensors(vars(module))
        if tensor.grad_fn is not None
    }
    return copy.deepcopy(network, dict[int, Any](computed))


def _tensors(values: Any, depth: int = 3) -> Iterator[Tensor]:
    """Yield the tensors in nested dictionaries, lists and tuples."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, dict) and depth:
        for value in values.values():
            yield from _tensors(value, depth - 1)
    elif isinstance(values, list | tuple) and depth:
        for value in values:
            yield from _tensors(value, depth - 1)
