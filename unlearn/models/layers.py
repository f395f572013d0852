"""The last layers of a network, counted by their weights."""

from __future__ import annotations

from torch import Tensor, nn

from unlearn.errors import ConfigError


def find_last_layers(network: nn.Module, count: int) -> list[nn.Module]:
    """Find the modules of the last layers, in order of definition.

    A layer is a module with a weight of two dimensions or more, such as a convolution or a linear
    layer. The modules after it that have other weights or buffers, such as batch norm, belong to
    it.

    Args:
        network: Not changed.
        count: Number of layers, at least 1.

    Returns:
        Modules whose own parameters and buffers make up these layers; their children are others.

    Raises:
        ConfigError: If the network has fewer layers.
    """
    owners = [m for m in network.modules() if own_tensors(m)]
    starts = [
        place
        for place, module in enumerate(owners)
        if any(weight.dim() > 1 for weight in module.parameters(recurse=False))
    ]
    if count > len(starts):
        detail = f"the network has {len(starts)} layers with weights"
        raise ConfigError("method.layers", count, detail)
    return owners[starts[-count] :]


def own_tensors(module: nn.Module) -> list[Tensor]:
    """Return the parameters and buffers of a module, without those of its children."""
    return [*module.parameters(recurse=False), *module.buffers(recurse=False)]
