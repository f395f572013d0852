"""Frozen batch norm as part of the convolution before it, which saves passes over memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from torch import Tensor, fx, nn


class FoldedBatchNorm:
    """While entered, batch norm in eval mode costs nothing where it follows a convolution.

    gamma (conv(x, W) + b - mean) / sigma + beta = conv(x, s W) + s (b - mean) + beta,
    with s = gamma / sigma. Weights and gradients stay those of W, gamma and beta; only the
    rounding differs. Batch norm in train mode is left as it is. It can be entered again.

    Args:
        network: Its layers are changed while this is entered. A network that `torch.fx` cannot
            trace is left as it is.
        listened: Names of layers whose outputs are read; such a convolution is left as it is.
    """

    def __init__(self, network: nn.Module, listened: tuple[str, ...] = ()) -> None:
        self._forwards: list[tuple[nn.Module, Callable[[Tensor], Tensor]]] = []
        for convolution, norm in _find_pairs(network, listened):
            self._forwards.append((convolution, _folded(convolution, norm)))
            self._forwards.append((norm, _idle_when_frozen(norm)))

    def __enter__(self) -> None:
        for layer, forward in self._forwards:
            setattr(layer, "forward", forward)  # noqa: B010 (a method, as a type checker sees it)

    def __exit__(self, *error: object) -> None:
        for layer, _ in self._forwards:
            delattr(layer, "forward")


def _folded(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> Callable[[Tensor], Tensor]:
    def forward(images: Tensor) -> Tensor:
        weight, bias = convolution.weight, convolution.bias
        if not norm.training:
            assert norm.running_mean is not None
            assert norm.running_var is not None
            scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
            shift = -norm.running_mean if bias is None else bias - norm.running_mean
            weight, bias = weight * scale.view(-1, 1, 1, 1), scale * shift + norm.bias
        maps: Tensor = convolution._conv_forward(images, weight, bias)
        return maps

    return forward


def _idle_when_frozen(norm: nn.BatchNorm2d) -> Callable[[Tensor], Tensor]:
    usual = norm.forward
    return lambda images: usual(images) if norm.training else images


def _find_pairs(
    network: nn.Module, listened: tuple[str, ...]
) -> Iterator[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Yield each convolution whose output goes to one batch norm and nowhere else."""
    try:
        nodes = list(fx.symbolic_trace(network).graph.nodes)
    except Exception:  # of a network with control flow, or with layers that fx does not know
        return
    modules = dict(network.named_modules())
    calls = Counter(node.target for node in nodes if node.op == "call_module")
    for node in nodes:
        norm = modules.get(node.target) if calls[node.target] == 1 else None
        if not isinstance(norm, nn.BatchNorm2d) or not (norm.affine and norm.track_running_stats):
            continue
        before = node.args[0]
        convolution = modules.get(before.target) if calls[before.target] == 1 else None
        alone = len(before.users) == 1 and before.target not in listened
        if type(convolution) is nn.Conv2d and alone:
            yield convolution, norm
