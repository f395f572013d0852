"""Attention maps, the taps that read them, and the layers chosen where none are named."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from unlearn.errors import ConfigError
from unlearn.models.attention import AttentionTaps, attention_map, default_layers


class Residual(nn.Module):
    """As a user might write it: nested, with convolutions, norms and a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_a = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        self.conv_b = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        result: Tensor = maps + self.conv_b(self.norm(self.conv_a(maps)).relu())
        return result


def network(blocks: int = 1) -> nn.Sequential:
    torch.manual_seed(0)
    body = [Residual(4) for _ in range(blocks)]
    return nn.Sequential(nn.Conv2d(1, 4, 3), *body, nn.Flatten(), nn.Linear(4 * 36, 5))


def hooks(module: nn.Module) -> int:
    return sum(len(m._forward_hooks) for m in module.modules())


def expected(activations: np.ndarray) -> np.ndarray:
    """Sum by hand: mean over channels of squares, divided by the sample's Euclidean norm."""
    rows = []
    for sample in activations.astype(np.float64):
        total = np.zeros(sample.shape[1:])
        for channel in sample:
            total += channel * channel
        flat = (total / len(sample)).ravel()
        rows.append(flat / np.sqrt((flat * flat).sum()))
    return np.stack(rows)


@pytest.mark.parametrize("shape", [(3, 5, 4, 7), (1, 1, 2, 2), (2, 16, 1, 1)])
def test_attention_map_is_the_published_one(shape: tuple[int, ...]) -> None:
    activations = torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 3
    found = attention_map(activations)
    assert found.shape == (shape[0], shape[2] * shape[3])
    np.testing.assert_allclose(found.numpy(), expected(activations.numpy()), rtol=1e-6, atol=1e-7)


def test_attention_map_ignores_sign_and_scale_and_survives_zeros() -> None:
    activations = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(attention_map(-2 * activations), attention_map(activations))
    assert torch.equal(attention_map(torch.zeros(2, 3, 4, 4)), torch.zeros(2, 16))


def test_taps_give_the_maps_in_the_order_asked_for() -> None:
    net = network().eval()
    images = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    with torch.no_grad(), AttentionTaps(net, ("1", "0", "1.conv_a")) as taps:
        logits, maps = taps(images)
    with torch.no_grad():
        stem = net[0](images)
        inner = net[1].conv_a(stem)
        assert torch.equal(net(images), logits)
        activations = [net[1](stem), stem, inner]
    assert len(maps) == 3
    for found, wanted in zip(maps, activations, strict=True):
        np.testing.assert_allclose(found.numpy(), expected(wanted.numpy()), rtol=1e-5, atol=1e-7)


def test_taps_hold_the_last_pass_and_carry_its_gradient() -> None:
    net = network().eval()
    generator = torch.Generator().manual_seed(4)
    first, last = (torch.randn(n, 1, 8, 8, generator=generator) for n in (2, 3))
    last.requires_grad_(True)
    with AttentionTaps(net, ("0",)) as taps:
        assert taps(first)[1][0].shape == (2, 36)
        _, (found,) = taps(last)
    torch.testing.assert_close(found, attention_map(net[0](last)))
    found[:, 0].sum().backward()
    assert last.grad.abs().sum() > 0
    assert net[0].weight.grad.abs().sum() > 0


def test_taps_of_two_networks_do_not_mix() -> None:
    teacher, student = network(), network()
    with torch.no_grad():
        student[0].weight.neg_().add_(0.5)
    images = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(5))
    with torch.no_grad(), AttentionTaps(teacher, ("0",)) as a, AttentionTaps(student, ("0",)) as b:
        (taught,), (learned,) = a(images)[1], b(images)[1]
        torch.testing.assert_close(taught, attention_map(teacher[0](images)))
        torch.testing.assert_close(learned, attention_map(student[0](images)))
        assert not torch.equal(taught, learned)


def test_gradients_are_those_of_separate_operations() -> None:
    """Against autograd's own differentiation of the definition, in double precision."""
    net = network(2).double().eval()
    layers = ("0", "1.conv_a", "1", "2.conv_b")
    images = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(6)).double()
    weights = torch.randn(4, 3, 36, generator=torch.Generator().manual_seed(7)).double()

    def gradients(logits: Tensor, maps: list[Tensor]) -> list[Tensor]:
        loss = logits.square().sum()
        loss = loss + sum((m * w).sum() for m, w in zip(maps, weights, strict=True))
        return list(torch.autograd.grad(loss, list(net.parameters())))

    with AttentionTaps(net, layers) as taps:
        found = gradients(*taps(images))
    kept: dict[str, Tensor] = {}
    for layer in layers:
        net.get_submodule(layer).register_forward_hook(
            lambda _, __, output, layer=layer: kept.__setitem__(layer, output)
        )
    logits = net(images)
    wanted = gradients(logits, [attention_map(kept[layer]) for layer in layers])
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


def test_a_layer_that_overwrites_its_input_is_tapped_before_it_does() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(144, 5))
    images = torch.randn(2, 1, 8, 8)
    with AttentionTaps(net, ("0",)) as taps:
        logits, (found,) = taps(images)
        (logits.sum() + found[:, 0].sum()).backward()
    torch.testing.assert_close(found, attention_map(net[0](images)))
    assert net[1].inplace is True


def test_a_plain_call_is_not_listened_to() -> None:
    net = network()
    images = torch.randn(2, 1, 8, 8)
    with AttentionTaps(net, ("0",)) as taps:
        taps(images)
        assert net(images).grad_fn is not None
        assert "_Energy" not in str(net[0](images).grad_fn)
        assert taps(images)[1][0].grad_fn is not None


def test_hooks_are_there_inside_and_gone_outside() -> None:
    net = network()
    taps = AttentionTaps(net, ("0", "1.conv_b"))
    assert hooks(net) == 0
    with taps:
        assert hooks(net) == 2
    assert hooks(net) == 0
    with pytest.raises(ZeroDivisionError), taps:
        raise ZeroDivisionError
    assert hooks(net) == 0


def test_hooks_of_the_user_stay() -> None:
    net, seen = network(), []
    net[0].register_forward_hook(lambda *_: seen.append(1))
    with AttentionTaps(net, ("0",)) as taps:
        taps(torch.zeros(1, 1, 8, 8))
    assert hooks(net) == 1
    net(torch.zeros(1, 1, 8, 8))
    assert seen == [1, 1]


@pytest.mark.parametrize("layer", ["2.conv_z", "conv1", "9"])
def test_unknown_layer(layer: str) -> None:
    net = network()
    with pytest.raises(ConfigError) as caught:
        AttentionTaps(net, ("0", layer))
    message = str(caught.value)
    assert message.startswith(f"model.attention={layer}: ")
    assert "1.conv_a" in message
    assert "\n" not in message
    assert hooks(net) == 0


def test_default_layers_are_all_convolutions_where_they_are_few() -> None:
    assert default_layers(network(1), (1, 8, 8)) == ("0", "1.conv_a", "1.conv_b")
    assert default_layers(network(3), (1, 8, 8)) == (
        "0",
        *(f"{block}.{conv}" for block in (1, 2, 3) for conv in ("conv_a", "conv_b")),
    )
    assert default_layers(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), (1, 2, 2)) == ()


def test_default_layers_are_evenly_spread_and_end_with_the_last() -> None:
    many = nn.Sequential(*(nn.Conv2d(1, 1, 1) for _ in range(20)))
    assert default_layers(many, (1, 2, 2)) == ("1", "4", "7", "10", "13", "16", "19")
    assert default_layers(many, (1, 2, 2), most=4) == ("4", "9", "14", "19")
    assert default_layers(many, (1, 2, 2), most=1) == ("19",)
    assert default_layers(many, (1, 2, 2), most=20) == tuple(str(i) for i in range(20))


@pytest.mark.parametrize("count", range(1, 40))
def test_default_layers_are_never_more_than_eight(count: int) -> None:
    net = nn.Sequential(*(nn.Conv2d(1, 1, 1) for _ in range(count)))
    layers = default_layers(net, (1, 2, 2))
    assert min(count, 4) <= len(layers) <= 8
    assert layers[-1] == str(count - 1)


class Auxiliary(nn.Module):
    """Has a head that is used only while it trains, as torchvision's GoogLeNet has."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Conv2d(1, 2, 3), nn.Conv2d(1, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.body(images)
        return maps + self.head(images).mean() if self.training else maps


def test_default_layers_leave_out_what_eval_mode_does_not_use() -> None:
    net = Auxiliary().train()
    assert default_layers(net, (1, 4, 4)) == ("body",)
    assert all(module.training for module in net.modules())
    assert hooks(net) == 0
