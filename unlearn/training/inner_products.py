"""Inner products of the inputs of linear layers and convolutions, summed over images."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import ExitStack
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlearn.protocol import Request, State

Layer = nn.Conv2d | nn.Linear


@torch.no_grad()
def sum_products(
    name: str,
    network: nn.Module,
    layers: Mapping[str, Layer],
    images: Tensor,
    batch_size: int,
    request: Request,
) -> Generator[State, object, dict[str, Tensor]]:
    """Sum `inner_products` of each layer over images; yield the state after each batch.

    Args:
        name: Name of the images, unique within the method.
        network: Network that has the layers; its mode and weights stay.
        layers: The layers by name.
        images: (N, C, H, W), normalised.
        batch_size: Images of a forward pass, at least 1.
        request: Hardware and progress.

    Returns:
        (g, d, d) of each layer, by name.
    """
    sums = {name: _no_products(layer) for name, layer in layers.items()}
    batches = images.split(batch_size)
    stage = f"inputs.{name}"
    for step in request.progress.steps(stage, len(batches), lambda: sums):
        with ExitStack() as hooks, request.hardware.autocast():
            for key, layer in layers.items():
                hook = layer.register_forward_pre_hook(partial(add_products, sums[key]))
                hooks.callback(hook.remove)
            network(request.hardware.layout(batches[step - 1]))
        yield State(stage, step, len(batches), None)
    return sums


def _no_products(layer: Layer) -> Tensor:
    weight = layer.weight
    groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
    size = weight[0].numel()
    return torch.zeros(groups, size, size, device=weight.device)


def add_products(total: Tensor, layer: Layer, inputs: tuple[Tensor]) -> None:
    """Add `inner_products` of a layer's inputs to a total, in place, in float32."""
    with torch.autocast(inputs[0].device.type, enabled=False):
        total += inner_products(layer, inputs[0].float())


def inner_products(layer: Layer, inputs: Tensor) -> Tensor:
    """Sum over inputs x of x x^T, (g, d, d), with x as a row of the weights meets it.

    Args:
        layer: Convolution with g groups of weights (out, d), or a linear layer (g = 1).
        inputs: Inputs of the layer, (B, C, H, W) or (..., d).
    """
    if isinstance(layer, nn.Linear):
        rows = inputs.flatten(0, -2)
        return (rows.T @ rows)[None]
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    padded = F.pad(inputs, layer._reversed_padding_repeated_twice, mode=mode)
    patches = F.unfold(padded, layer.kernel_size, layer.dilation, stride=layer.stride)
    columns = patches.reshape(len(patches), layer.groups, -1, patches.shape[-1])
    return torch.einsum("bgdl,bgel->gde", columns, columns)
