"""Features of a small network against its layers' own outputs."""

import torch

from tests.helpers.tiny import CPU, seeded_net
from unlearn.data.tensors import Data
from unlearn.models.features import feature_places, features_at


def test_features_are_read_where_they_are_named(easy_data: Data) -> None:
    network = seeded_net(1)
    places = feature_places(network, ("first", "second"))
    assert places == ("first", "second", "head (input)")
    images = easy_data.test.images[:20]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    first, second, penultimate = features_at(network, places, images, CPU, grid=2, size=7)
    with torch.no_grad():
        by_hand = network.second(network.first(images))
        logits = network(images)
    assert first.shape == (20, 6 * 2 * 2)
    torch.testing.assert_close(second.view(20, 8, 2, 2), torch.nn.AvgPool2d(4)(by_hand))
    torch.testing.assert_close(penultimate, by_hand.mean(dim=(2, 3)))
    torch.testing.assert_close(network.head(penultimate).detach(), logits)
    assert all(torch.equal(value, before[k]) for k, value in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())
