"""The generator's shortcut against the layers that it stands for."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from unlearn.synthesis.generator import DoublingConv2d


def upsampled_then_convolved(layer: DoublingConv2d, images: Tensor) -> Tensor:
    """The published pair of layers with the same weights."""
    plain = nn.Conv2d(layer.in_channels, layer.out_channels, 3, padding=1).double()
    plain.weight, plain.bias = layer.weight, layer.bias
    result: Tensor = plain(nn.Upsample(scale_factor=2)(images))
    return result


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 7), (8, 5)])
def test_doubling_is_upsampling_and_convolving(size: tuple[int, int]) -> None:
    """Values at every pixel, borders too, and gradients for weights, bias and input."""
    torch.manual_seed(0)
    layer = DoublingConv2d(3, 4).double()
    images = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    found, wanted = layer(images), upsampled_then_convolved(layer, images)
    assert found.shape == (2, 4, 2 * size[0], 2 * size[1])
    torch.testing.assert_close(found, wanted)
    weights = torch.randn_like(wanted)
    into = [layer.weight, layer.bias, images]
    ours = torch.autograd.grad((found * weights).sum(), into)
    theirs = torch.autograd.grad((wanted * weights).sum(), into)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_doubling_multiplies_less_than_half_as_often() -> None:
    layer = DoublingConv2d(8, 8).double()
    images = torch.randn(1, 8, 8, 8, dtype=torch.float64)
    with FlopCounterMode(display=False) as ours:
        layer(images)
    with FlopCounterMode(display=False) as theirs:
        upsampled_then_convolved(layer, images)
    assert ours.get_total_flops() / theirs.get_total_flops() == pytest.approx(4 / 9, rel=0.01)
