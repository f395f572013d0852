"""Attention maps read from named layers with forward hooks, whatever the network."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Self

import torch.nn.functional as F
from torch import Tensor, nn

from unlearn.errors import ConfigError


class AttentionTaps(ExitStack):
    """While entered, `maps()` gives the attention maps of the network's last forward pass.

    An attention map is the mean over channels of the squared activations, flattened and
    L2-normalised per sample (Zagoruyko & Komodakis, 2017, eq. 1 with p = 2): (B, H * W).

    Args:
        network: the network to listen to.
        layers: dotted module names, as in `network.named_modules()`.

    Raises:
        ConfigError: if a layer does not exist.
    """

    def __init__(self, network: nn.Module, layers: tuple[str, ...]) -> None:
        super().__init__()
        modules = dict(network.named_modules())
        for layer in layers:
            if layer not in modules:
                raise ConfigError("model.attention", layer, f"allowed are {', '.join(modules)}")
        self._modules = [modules[layer] for layer in layers]
        self._activations: dict[int, Tensor] = {}

    def __enter__(self) -> Self:
        def keep(index: int):  # type: ignore[no-untyped-def]
            def hook(module: nn.Module, inputs: object, output: Tensor) -> None:
                self._activations[index] = output

            return hook

        for index, module in enumerate(self._modules):
            self.callback(module.register_forward_hook(keep(index)).remove)
        return super().__enter__()

    def maps(self) -> list[Tensor]:
        """Attention maps (B, H * W) in the order of the layers."""
        return [attention_map(self._activations[i]) for i in range(len(self._modules))]


def attention_map(activations: Tensor) -> Tensor:
    """Normalised attention (B, H * W) of activations (B, C, H, W)."""
    return F.normalize(activations.square().mean(dim=1).flatten(1), dim=1)


def default_layers(network: nn.Module, most: int = 8) -> tuple[str, ...]:
    """Names of up to `most` convolutions, evenly spread, for a network whose YAML names none."""
    names = [name for name, m in network.named_modules() if isinstance(m, nn.Conv2d)]
    stride = max(1, -(-len(names) // most))
    return tuple(names[::-1][::stride][::-1])
