"""Cutting networks: both parts together answer as the network, and share its weights."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
import torchvision.models as zoo
from torch import Tensor, nn

from unlearn.models.allcnn import AllCNN
from unlearn.models.cut import cut, list_places
from unlearn.models.lenet import LeNet
from unlearn.models.resnet_cifar import CifarResNet

NETWORKS: dict[str, tuple[Callable[[], nn.Module], int, str]] = {
    "resnet20": (lambda: CifarResNet(3, 10, 20), 32, "layer3.0"),
    "allcnn": (lambda: AllCNN(3, 10, 0.25), 32, "blocks.5"),
    "lenet": (lambda: LeNet(3, 10, 32), 32, "features.2"),
    "resnet18": (lambda: zoo.resnet18(num_classes=10), 64, "layer4.0"),
    "vit": (
        lambda: zoo.VisionTransformer(32, 8, 3, 2, 24, 48, num_classes=10),
        32,
        "encoder.layers.encoder_layer_1",
    ),
    "densenet": (lambda: zoo.DenseNet(8, (2, 2), 16, num_classes=10), 64, "features.denseblock1"),
}


class Skipping(nn.Module):
    """The stem's output goes round the middle to the end, as in a U-shaped network."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.middle = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.end, self.head = nn.Conv2d(8, 4, 3, padding=1), nn.Linear(4, 10)

    def forward(self, images: Tensor) -> Tensor:
        stem = self.stem(images)
        logits: Tensor = self.head(self.end(torch.cat([stem, self.middle(stem)], 1)).mean((2, 3)))
        return logits


class Branching(nn.Module):
    """A layer that looks at values cannot be followed; the network around it can."""

    class Inner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(4, 4, 1)

        def forward(self, maps: Tensor) -> Tensor:
            return self.layer(maps) if maps.mean() > 0 else F.relu(maps)

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inner = nn.Conv2d(3, 4, 3), Branching.Inner()
        self.head = nn.Linear(4, 10)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.inner(self.stem(images)).mean((2, 3)))
        return logits


class Closed(Branching):
    """The network's own code looks at values."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images if images.mean() > 0 else -images)


@pytest.mark.parametrize("name", NETWORKS)
def test_both_parts_answer_as_the_network(name: str) -> None:
    make, side, wanted = NETWORKS[name]
    network = make().eval()
    images = torch.randn(3, 3, side, side)
    places = list(list_places(network))
    assert wanted in places
    expected = network(images)
    for place in (wanted, places[0], places[-2]):
        parts = cut(network, place)
        assert torch.equal(parts.upper(parts.lower(images)), expected), place


def test_the_parts_share_weights_and_modes_with_the_network() -> None:
    network = CifarResNet(3, 10, 8).eval()
    parts = cut(network, "layer2")
    lower, upper = ({id(p) for p in part.parameters()} for part in (parts.lower, parts.upper))
    assert not lower & upper
    assert lower | upper == {id(p) for p in network.parameters()}
    parts.upper.train()
    assert network.layer3[0].bn1.training
    assert not network.layer2[0].bn1.training


def test_a_way_round_a_layer_forbids_the_cut() -> None:
    places = list(list_places(Skipping()))
    assert "middle" not in places
    assert {"stem", "end", "head"} <= set(places)
    with pytest.raises(KeyError):
        cut(Skipping(), "middle")


def test_a_layer_that_looks_at_values_counts_as_one_operation() -> None:
    network = Branching().eval()
    assert list(list_places(network)) == ["stem", "inner", "head"]
    images, parts = torch.randn(2, 3, 8, 8), cut(network, "inner")
    assert torch.equal(parts.upper(parts.lower(images)), network(images))


def test_a_network_that_cannot_be_followed_has_no_places() -> None:
    assert list_places(Closed()) == {}
