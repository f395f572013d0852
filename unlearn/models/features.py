"""Features of a network's blocks: what convolutions put out and linear layers take in."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlearn.hardware import ROWS, Hardware

_INPUT = " (input)"


def feature_places(network: nn.Module, blocks: tuple[str, ...], linear: int = 3) -> tuple[str, ...]:
    """Where features are read, from the first block to the penultimate layer.

    Args:
        network: to be listened to.
        blocks: names of the layers whose output is read, as for attention.
        linear: of how many linear layers, the last ones, the input is read: the hidden layers,
            and last of all the penultimate features, as the input of the last linear layer.
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
    """Features (N, D) of images (N, C, H, W) at each place, float32, on the CPU.

    Args:
        network: in the mode that it is in; not changed.
        places: as `feature_places` gives them.
        images: normalised.
        hardware: precision and layout.
        grid: maps (B, C, H, W) are averaged to C x grid x grid, and tokens (B, T, D) to D.
        size: images a batch.
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
    """Features (B, D), a copy: the layers that follow may overwrite the values."""
    if values.dim() == 4:
        values = F.adaptive_avg_pool2d(values, min(grid, values.shape[2], values.shape[3]))
    elif values.dim() == 3:
        values = values.mean(dim=1)
    return values.flatten(1).clone()
