"""Features of a network: outputs of its blocks and inputs of its last linear layers."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlearn.hardware import ROWS, Hardware
from unlearn.models.network import readout

_INPUT = " (input)"


def feature_places(network: nn.Module, blocks: tuple[str, ...], linear: int = 3) -> tuple[str, ...]:
    """List the places of features, from the first block to the penultimate layer.

    Args:
        network: Network that has the layers.
        blocks: Names of the layers whose output is read, as for attention.
        linear: Number of linear layers, counted from the last, whose input is read. The last
            place is the input of the last linear layer: the penultimate features.
    """
    names = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    return (*blocks, *(f"{name}{_INPUT}" for name in names[-linear:]))


@torch.no_grad()
def features_at(
    network: nn.Module,
    places: tuple[str, ...],
    images: Tensor,
    hardware: Hardware,
    *,
    grid: int,
    size: int = ROWS,
) -> list[Tensor]:
    """Compute the features (N, D) of images (N, C, H, W) at each place, float32, on the CPU.

    Args:
        network: Network; its mode and weights stay.
        places: Places as `feature_places` returns them.
        images: Images, normalised.
        hardware: Precision and memory format.
        grid: Maps (B, C, H, W) are averaged to C x grid x grid, and tokens (B, T, D) to D.
        size: Images of a forward pass.
    """
    found: list[list[Tensor]] = [[] for _ in places]

    def keep(index: int) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], *output: Any) -> None:
            values = output[0] if output else inputs[0]
            found[index].append(_pooled(values, grid).float().cpu())

        return hook

    with ExitStack() as hooks:
        for index, place in enumerate(places):
            module = network.get_submodule(place.removesuffix(_INPUT))
            if place.endswith(_INPUT):
                handle = module.register_forward_pre_hook(keep(index))
            else:
                handle = module.register_forward_hook(keep(index))
            hooks.callback(handle.remove)
        for batch in images.split(size):
            with hardware.autocast():
                network(hardware.layout(batch))
    return [torch.cat(parts) for parts in found]


def _pooled(values: Tensor, grid: int) -> Tensor:
    """Return features (B, D), a copy, because later layers may overwrite the values."""
    if values.dim() == 4:
        values = F.adaptive_avg_pool2d(values, min(grid, values.shape[2], values.shape[3]))
    elif values.dim() == 3:
        values = values.mean(dim=1)
    return values.flatten(1).clone()


class FeatureExtractor(nn.Module):
    """Maps images to the penultimate features of a network, with gradients.

    Args:
        network: Network with a linear layer of one row a class.
        classes: Number of classes K.

    Raises:
        RunError: If the network has no such layer.
    """

    def __init__(self, network: nn.Module, classes: int) -> None:
        super().__init__()
        self.network = network
        self._last = [readout(network, classes)]  # in a list: it is the network's already

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) to the inputs (B, D) of the last linear layer."""
        taken: list[Tensor] = []
        hook = self._last[0].register_forward_pre_hook(lambda _, inputs: taken.append(inputs[0]))
        self.network(images)
        hook.remove()
        return taken[0]
