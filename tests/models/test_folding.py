"""Frozen batch norm folded into convolutions: the same answers and gradients, at fewer passes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.helpers.tiny import TinyNet
from unlearn.models.allcnn import AllCNN
from unlearn.models.folding import FoldedBatchNorm
from unlearn.models.network import freeze_batch_norm
from unlearn.models.resnet_cifar import CifarResNet


class Branching(nn.Module):
    """Both norms may not be folded: one shares its input with a shortcut, one is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.shared = nn.BatchNorm2d(4)
        self.again = nn.Conv2d(4, 4, 1)
        self.twice = nn.BatchNorm2d(4)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.conv(images)
        maps = self.twice(self.again(maps + self.shared(maps).relu()))
        return self.twice(self.again(maps)).mean(dim=(2, 3))  # type: ignore[no-any-return]


NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "allcnn": (lambda: AllCNN(3, 10, 0.1), 8),
    "resnet8": (lambda: CifarResNet(3, 10, 8), 7),
    "tiny": (TinyNet, 2),
    "branching": (Branching, 0),
}


def lived_in(name: str) -> nn.Module:
    """A network whose batch norm has its own statistics and affine parameters, frozen."""
    torch.manual_seed(0)
    network = NETWORKS[name][0]().train()
    images = torch.randn(16, 1 if name == "tiny" else 3, 8, 8) * 2 + 1
    for _ in range(10):
        network(images)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, -1.5, 1.5)
            nn.init.normal_(layer.bias)
    return network


def answer(network: nn.Module, images: Tensor) -> tuple[Tensor, list[Tensor]]:
    logits = network(images)
    loss = logits.square().sum()
    return logits, list(torch.autograd.grad(loss, list(network.parameters())))


@pytest.mark.parametrize("name", NETWORKS)
def test_answers_and_gradients_are_those_of_the_plain_network(name: str) -> None:
    network = lived_in(name)
    images = torch.randn(6, 1 if name == "tiny" else 3, 8, 8)
    folded = FoldedBatchNorm(network)
    freeze_batch_norm(network)
    plain, gradients = answer(network, images)
    calls = []
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.register_forward_hook(lambda m, i, o: calls.append(o is i[0]))
    for _ in range(2):  # it can be entered again
        calls.clear()
        with folded:
            logits, found = answer(network, images)
        assert sum(calls) == NETWORKS[name][1]
        torch.testing.assert_close(logits, plain, rtol=1e-4, atol=1e-4)
        for one, other in zip(found, gradients, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3 * float(other.abs().max()))
    assert torch.equal(network(images), plain), "outside, the network is as it was"


def test_batch_norm_in_train_mode_is_left_as_it_is() -> None:
    network, images = lived_in("allcnn"), torch.randn(6, 3, 8, 8)
    plain = network(images)
    with FoldedBatchNorm(network):
        assert torch.equal(network(images), plain)


def test_a_convolution_that_is_listened_to_keeps_its_output() -> None:
    network, images = lived_in("tiny").eval(), torch.randn(6, 1, 8, 8)
    heard: list[Tensor] = []
    network.get_submodule("first.0").register_forward_hook(lambda m, i, o: heard.append(o))
    plain = network(images)
    with FoldedBatchNorm(network, ("first.0",)):
        torch.testing.assert_close(network(images), plain)
    assert torch.equal(*heard)


def test_a_network_that_cannot_be_traced_is_left_as_it_is() -> None:
    class Deciding(TinyNet):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images if images.sum() > 0 else -images)

    torch.manual_seed(0)
    network, images = Deciding().eval(), torch.randn(6, 1, 8, 8)
    plain = network(images)
    with FoldedBatchNorm(network):
        assert torch.equal(network(images), plain)
