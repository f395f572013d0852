"""Networks of every size, attention maps, starts, and checkpoints of every kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from safetensors.torch import save_file
from tiny import TinyNet, seeded_net
from torch import nn

import unlearn.__main__ as entry
from unlearn.config import RunConfig
from unlearn.errors import ConfigError
from unlearn.models.allcnn import AllCNN
from unlearn.models.attention import AttentionTaps, attention_map, default_layers
from unlearn.models.checkpoint import load_into
from unlearn.models.lenet import LeNet
from unlearn.models.network import attention_layers, builder, shrink_and_perturb
from unlearn.settle import settle


def settled(*overrides: str) -> RunConfig:
    with initialize_config_dir(str(entry._CONF), version_base="1.3"):
        return settle(compose("config", overrides=list(overrides)), list(overrides))


def sized(model: str, channels: int, classes: int, size: int) -> RunConfig:
    return settled(
        f"model={model}",
        "method=original",
        f"dataset.shape=[{channels},{size},{size}]",
        f"dataset.num_classes={classes}",
        f"dataset.mean={[0.5] * channels}",
        f"dataset.std={[0.5] * channels}",
        "dataset.classes=null",
    )


@pytest.mark.parametrize("size", [8, 28, 32])
@pytest.mark.parametrize(("channels", "classes"), [(1, 10), (3, 100)])
@pytest.mark.parametrize("model", ["lenet", "allcnn", "resnet9", "resnet18"])
def test_networks_of_every_size(model: str, channels: int, classes: int, size: int) -> None:
    config = sized(model, channels, classes, size)
    network = builder(config.model, config.dataset)(0)
    logits = network.train()(torch.randn(2, channels, size, size))
    assert logits.shape == (2, classes)
    logits.square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    known = dict(network.named_modules())
    assert set(attention_layers(config.model, network)) <= set(known)


def test_allcnn_has_the_published_size() -> None:
    channels = [3, 96, 96, 192, 192, 192, 192, 192, 192]
    kernels = [3, 3, 3, 3, 3, 3, 3, 1]
    expected = 192 * 10 + 10
    for i, kernel in enumerate(kernels):
        expected += channels[i] * channels[i + 1] * kernel**2 + 2 * channels[i + 1]
    counted = sum(p.numel() for p in AllCNN(3, 10, 1.0).parameters())
    assert counted == expected
    assert counted == pytest.approx(1.62e6, rel=0.01)
    assert sum(p.numel() for p in AllCNN(3, 10, 0.25).parameters()) < expected / 10


@pytest.mark.parametrize("size", [8, 28, 32])
def test_lenet_has_its_400_features(size: int) -> None:
    assert LeNet(1, 10, size).features(torch.zeros(1, 1, size, size)).numel() == 400


def test_the_seed_decides_the_weights_and_the_global_generator_is_left_alone() -> None:
    config = sized("allcnn", 1, 10, 8)
    build = builder(config.model, config.dataset)
    state = torch.random.get_rng_state()
    first, same, other = build(1), build(1), build(2)
    assert torch.equal(torch.random.get_rng_state(), state)
    weights = [n.state_dict()["blocks.3.0.weight"] for n in (first, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_attention_against_numpy_and_no_hook_stays() -> None:
    network = seeded_net(1)
    images = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    activations = network.first(images).detach()
    maps = (activations.numpy() ** 2).mean(axis=1).reshape(5, 64)
    expected = maps / np.linalg.norm(maps, axis=1, keepdims=True)
    np.testing.assert_allclose(attention_map(activations), expected, rtol=1e-5)

    with AttentionTaps(network, ("first", "second")) as taps:
        network(images)
        np.testing.assert_allclose(taps.maps()[0].detach(), expected, rtol=1e-4, atol=1e-6)
        assert len(taps.maps()) == 2
    with pytest.raises(ZeroDivisionError), AttentionTaps(network, ("first",)):
        _ = 1 / 0
    assert not any(m._forward_hooks for m in network.modules())
    with pytest.raises(ConfigError, match=r"model\.attention=third"):
        AttentionTaps(network, ("third",))


def test_default_layers_are_convolutions_and_few() -> None:
    assert default_layers(seeded_net(1)) == ("first.0", "second.0")
    deep = nn.Sequential(*[nn.Conv2d(1, 1, 1) for _ in range(30)])
    chosen = default_layers(deep)
    assert len(chosen) <= 8
    assert chosen[-1] == "29"


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_start_is_the_convex_combination(share: float) -> None:
    teacher, fresh = seeded_net(1), seeded_net(2)
    before = {k: v.clone() for k, v in teacher.state_dict().items()}
    start = shrink_and_perturb(teacher.requires_grad_(False), fresh, share)
    for name, weight in start.named_parameters():
        a, b = teacher.get_parameter(name), fresh.get_parameter(name)
        torch.testing.assert_close(weight.detach(), share * a + (1 - share) * b.detach())
        assert weight.requires_grad
    source = teacher if share else fresh
    for name, buffer in start.named_buffers():
        assert torch.equal(buffer, source.get_buffer(name))
    assert all(torch.equal(v, before[k]) for k, v in teacher.state_dict().items())


def saved(kind: str, folder: Path) -> str:
    state: dict[str, Any] = seeded_net(1).state_dict()
    path = str(folder / ("net.safetensors" if kind == "safetensors" else "net.pt"))
    if kind == "safetensors":
        save_file(state, path)
    elif kind == "bare":
        torch.save(state, path)
    elif kind == "wrapped":
        torch.save({"state_dict": state, "epoch": 3}, path)
    else:
        torch.save({"model": {f"module.{k}": v for k, v in state.items()}, "lr": 0.1}, path)
    return path


@pytest.mark.parametrize("kind", ["safetensors", "bare", "wrapped", "parallel"])
def test_a_checkpoint_is_written_as_it_was_given(tmp_path: Path, kind: str) -> None:
    network = seeded_net(2)
    layout = load_into(network, saved(kind, tmp_path))
    for key, value in seeded_net(1).state_dict().items():
        assert torch.equal(network.state_dict()[key], value)

    changed = seeded_net(3)
    again = tmp_path / f"again{layout.suffix}"
    layout.save(changed, again)
    back = seeded_net(4)
    assert load_into(back, str(again)) == layout
    for key, value in changed.state_dict().items():
        assert torch.equal(back.state_dict()[key], value)
    if kind != "safetensors":
        content = torch.load(again, weights_only=True)
        assert {"bare": "head.bias", "wrapped": "epoch", "parallel": "lr"}[kind] in content
        if kind == "parallel":
            assert all(k.startswith("module.") for k in content["model"])


def test_checkpoints_that_cannot_be_used(tmp_path: Path) -> None:
    good = seeded_net(1).state_dict()
    nan = {**good, "head.bias": torch.full((4,), torch.nan)}
    surplus = {**good, "tail.weight": torch.zeros(2)}
    for name, content, reason in (
        ("nan.pt", nan, "NaN"),
        ("surplus.pt", surplus, "unknown tail.weight"),
        ("lacking.pt", {"head.bias": good["head.bias"]}, "lacks"),
        ("list.pt", [1, 2], "state dict"),
        ("numbers.pt", {"a": 1}, "state dict"),
    ):
        torch.save(content, tmp_path / name)
        with pytest.raises(ConfigError, match=reason) as error:
            load_into(TinyNet(), str(tmp_path / name))
        assert str(error.value).startswith(f"model.checkpoint={tmp_path / name}: ")
        assert "\n" not in str(error.value)
