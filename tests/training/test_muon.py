"""Muon: orthogonal updates of convolutions, and SGD for all other weights."""

from __future__ import annotations

import torch
from torch import nn

from unlearn.training.muon import Muon, orthogonalise


def test_orthogonalise_keeps_singular_vectors_and_levels_the_values() -> None:
    for shape in ((4, 9), (9, 4)):
        matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        left, values, right = torch.linalg.svd(matrix, full_matrices=False)
        found = left.T @ orthogonalise(matrix, 5) @ right.T
        levels = found.diagonal()
        assert 0.6 < float(levels.min()) <= float(levels.max()) < 1.3
        torch.testing.assert_close(found, levels.diag(), atol=1e-4, rtol=0)
        assert values.max() / values.min() > 1.5


def build() -> nn.Module:
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 8, 3, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(8), nn.Conv2d(8, 2, 1), nn.Flatten())


def test_all_weights_but_free_convolutions_move_as_with_sgd() -> None:
    network, other = build(), build()
    muon = Muon(network, 0.01, momentum=0.8, weight_decay=0.1)
    rest = [p for name, p in other.named_parameters() if name != "0.weight"]
    sgd = torch.optim.SGD(rest, 0.05, momentum=0.8, nesterov=True, weight_decay=0.1)
    for _ in range(3):
        for one, same in zip(network.parameters(), other.parameters(), strict=True):
            one.grad = torch.ones_like(one)
            same.grad = torch.ones_like(same)
        muon.step()
        sgd.step()
    for (name, one), same in zip(network.named_parameters(), other.parameters(), strict=True):
        if name != "0.weight":
            torch.testing.assert_close(one, same)


def test_an_update_of_a_convolution_has_the_length_that_the_rate_says() -> None:
    network = build()
    weight = network[0].weight
    muon = Muon(network, 0.01)
    weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
    start = weight.detach() * 8**0.5 / weight.detach().norm()
    muon.step()
    moved = (weight.detach() - start).norm() / start.norm()
    assert 0.005 < float(moved) < 0.013


def test_a_step_goes_downhill() -> None:
    network, images = build(), torch.randn(64, 3, 3, 3)
    muon, losses = Muon(network, 0.02), list[float]()
    for _ in range(20):
        loss = network(images).square().mean() + (network(images) - 1).square().mean()
        muon.zero_grad()
        loss.backward()
        muon.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
