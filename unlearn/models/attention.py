"""Attention maps of named layers, read with forward hooks from any network."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlearn.errors import ConfigError


class AttentionTaps(ExitStack):
    """Context in which a call runs the network and returns its logits and attention maps.

    An attention map is the mean over channels of the squared activations, flattened and
    L2-normalised per sample (Zagoruyko & Komodakis, 2017, eq. 1 with p = 2): (B, H * W).
    Inside the context, layers with `inplace=True` write to a new tensor, because the gradient of a
    map needs the unchanged activations.

    Args:
        network: Network that is run.
        layers: Dotted module names, as in `network.named_modules()`.

    Raises:
        ConfigError: If a layer does not exist.
    """

    def __init__(self, network: nn.Module, layers: tuple[str, ...]) -> None:
        super().__init__()
        modules = dict(network.named_modules())
        for layer in layers:
            if layer not in modules:
                raise ConfigError("model.attention", layer, f"allowed are {', '.join(modules)}")
        self._network = network
        self._modules = [modules[layer] for layer in layers]
        self._energies: dict[int, Tensor] | None = None

    def __enter__(self) -> Self:
        for index, module in enumerate(self._modules):
            self.callback(module.register_forward_hook(self._keep(index)).remove)
        if self._modules:
            for module in self._network.modules():
                if getattr(module, "inplace", False) is True:
                    setattr(module, "inplace", False)  # noqa: B010 (any user's layer)
                    self.callback(setattr, module, "inplace", True)
        return super().__enter__()

    def _keep(self, index: int) -> Callable[[nn.Module, Any, Tensor], Tensor | None]:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> Tensor | None:
            if self._energies is None:
                return None
            output, self._energies[index] = _Energy.apply(output)
            return output

        return hook

    def __call__(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return logits (B, K) of images (B, C, H, W), and the maps (B, H * W) of each layer."""
        self._energies = {}
        try:
            logits = self._network(images)
            maps = [_normalised(self._energies[i]) for i in range(len(self._modules))]
        finally:
            self._energies = None
        return logits, maps


class _Energy(torch.autograd.Function):
    """Passes activations (B, C, H, W) on, and returns their mean square over C (B, H, W).

    One function adds its gradient to the layer's own in one pass over memory. As separate
    operations the maps cost as much as AllCNN's convolutions on a CPU.
    """

    @staticmethod
    def forward(activations: Tensor) -> tuple[Tensor, Tensor]:
        precision = torch.promote_types(activations.dtype, torch.float32)
        if activations.stride(1) == 1:  # channels-last, where a norm needs no copy and is fastest
            norms = torch.linalg.vector_norm(activations, dim=1, dtype=precision)
            energies = norms.square() / activations.shape[1]
        else:
            energies = activations.square().mean(dim=1, dtype=precision)
        return activations.view_as(activations), energies

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx: Any, passed: Tensor, energy: Tensor) -> Tensor:
        (activations,) = ctx.saved_tensors
        factor = (energy * (2 / activations.shape[1])).unsqueeze(1).to(activations.dtype)
        return torch.addcmul(passed, activations, factor)


def attention_map(activations: Tensor) -> Tensor:
    """Return the normalised attention map (B, H * W) of activations (B, C, H, W)."""
    return _normalised(activations.square().mean(dim=1))


def _normalised(energies: Tensor) -> Tensor:
    return F.normalize(energies.flatten(1), dim=1)


def default_layers(
    network: nn.Module, shape: tuple[int, int, int], most: int = 8
) -> tuple[str, ...]:
    """Return convolutions, evenly spread, for a network whose YAML names no layers.

    Convolutions that the network does not use in eval mode (auxiliary heads) are left out.

    Args:
        network: Runs on one black image; not changed.
        shape: (channels, height, width) of an image.
        most: Largest number of layers.
    """
    used: set[nn.Module] = set()
    convolutions = {n: m for n, m in network.named_modules() if isinstance(m, nn.Conv2d)}
    modes = [(module, module.training) for module in network.modules()]
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    with ExitStack() as hooks, torch.no_grad():
        for layer in convolutions.values():
            hooks.callback(layer.register_forward_hook(lambda m, *_: used.add(m)).remove)
        network.eval()(torch.zeros(1, *shape, device=device))
    for module, training in modes:
        module.training = training
    names = [name for name, module in convolutions.items() if module in used]
    stride = max(1, -(-len(names) // most))
    return tuple(names[::-1][::stride][::-1])
