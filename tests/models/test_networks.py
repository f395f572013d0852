"""Every network of conf/model: size, shapes, gradients, layers by name, and seeds."""

from functools import cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch import nn

from tests.helpers.paths import CONF
from unlearn.config.schema import DatasetConfig, ModelConfig
from unlearn.models.allcnn import AllCNN
from unlearn.models.lenet import LeNet
from unlearn.models.network import attention_layers, batch_norms, builder, has_batch_norm
from unlearn.models.resnet9 import ResNet9
from unlearn.models.resnet18 import small_image_resnet18

ANY = {"custom", "timm", "torchvision", "huggingface"}  # networks that the user names
NAMES = sorted({path.stem for path in (CONF / "model").glob("*.yaml")} - ANY)
SIZES = [(name, size) for name in NAMES for size in (8, 28, 32) if (name, size) != ("resnet18", 8)]


@cache
def configs(
    name: str, channels: int = 1, size: int = 28, classes: int = 10, *overrides: str
) -> tuple[ModelConfig, DatasetConfig]:
    """The model and data set sections as Hydra composes them for images of this shape."""
    stated = [
        f"dataset.shape=[{channels},{size},{size}]",
        f"dataset.num_classes={classes}",
        f"dataset.mean={[0.5] * channels}",
        f"dataset.std={[0.5] * channels}",
    ]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = compose("config", [f"model={name}", "dataset=none", *stated, *overrides])
    sections = [OmegaConf.to_container(composed[key], resolve=True) for key in ("model", "dataset")]
    return ModelConfig.model_validate(sections[0]), DatasetConfig.model_validate(sections[1])


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("classes", [10, 100])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("name", "size"), SIZES)
def test_logits_and_gradients(name: str, size: int, channels: int, classes: int) -> None:
    network = builder(*configs(name, channels, size, classes))(0)
    generator = torch.Generator().manual_seed(size)
    images = torch.randn(4, channels, size, size, generator=generator)
    labels = torch.randint(0, classes, (4,), generator=generator)
    logits = network.train()(images)
    assert logits.shape == (4, classes)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()
    nn.functional.cross_entropy(logits, labels).backward()
    for parameter_name, parameter in network.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_independent_in_eval_mode(name: str) -> None:
    network = builder(*configs(name))(0).eval()
    images = torch.randn(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        together = network(images)
        alone = torch.cat([network(image[None]) for image in images])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(together[0], together[1], rtol=1e-4, atol=1e-5)


def test_allcnn_has_its_published_size() -> None:
    plan = [(3, 3, 96), (3, 96, 96), (3, 96, 192), (3, 192, 192), (3, 192, 192), (3, 192, 192)]
    plan += [(3, 192, 192), (1, 192, 192)]
    convolutions = sum(kernel**2 * inputs * outputs for kernel, inputs, outputs in plan)
    batch_norms = sum(2 * outputs for _, _, outputs in plan)
    count = parameters(AllCNN(3, 10, 1.0))
    assert count == convolutions + batch_norms + 192 * 10 + 10
    assert round(count / 1e6, 2) == 1.62


@pytest.mark.parametrize("width", [0.125, 0.25, 0.5, 1.0, 2.0])
def test_width_scales_every_convolution_of_allcnn(width: float) -> None:
    network = AllCNN(1, 10, width)
    found = [m.out_channels for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert found == [int(c * width) for c in (96, 96, 192, 192, 192, 192, 192, 192)]
    assert network.head.in_features == int(192 * width)


def test_width_reaches_allcnn_and_resnet9_from_their_yaml() -> None:
    for name, kind in (("allcnn", AllCNN), ("resnet9", ResNet9)):
        network = builder(*configs(name, 3, 32, 10, "model.width=0.5"))(0)
        assert parameters(network) == parameters(kind(3, 10, 0.5)) < parameters(kind(3, 10, 1.0))


def test_allcnn_halves_the_image_twice() -> None:
    network, images = AllCNN(3, 10, 0.125).eval(), torch.randn(1, 3, 32, 32)
    sides = []
    for block in network.blocks:
        images = block(images)
        sides.append(images.shape[-1])
    assert sides == [32, 32, 16, 16, 16, 8, 8, 8]


@pytest.mark.parametrize("size", [8, 27, 28, 31, 32])
def test_lenet_has_400_features_before_its_head(size: int) -> None:
    network = LeNet(1, 10, size)
    features = network.features(torch.randn(2, 1, size, size))
    assert features.flatten(1).shape == (2, 400)
    assert network(torch.randn(2, 1, size, size)).shape == (2, 10)


@pytest.mark.parametrize("size", [8, 27, 28, 31, 32])
def test_lenet_has_the_same_bits_with_and_without_gradients(size: int) -> None:
    network = LeNet(1, 10, size)
    images = torch.randn(5, 1, size, size, generator=torch.Generator().manual_seed(size))
    images[0], images[1, 0, 2, 3] = 0.5, torch.nan
    pool = network.features[2]
    maps = network.features[:2](images)
    with torch.no_grad():
        assert torch.equal(pool(maps).nan_to_num(-1), F.max_pool2d(maps, 2).nan_to_num(-1))
        logits = network(images[2:])
    assert torch.equal(network(images[2:]), logits)


def test_lenet_has_the_size_of_lenet_5() -> None:
    head = 400 * 120 + 120 + 120 * 84 + 84 + 84 * 10 + 10
    assert parameters(LeNet(1, 10, 28)) == 6 * 25 + 6 + 16 * 6 * 25 + 16 + head == 61706
    assert not has_batch_norm(LeNet(1, 10, 28))


def test_resnet18_keeps_the_resolution_in_its_stem() -> None:
    network = small_image_resnet18(3, 10).eval()
    sides: dict[str, int] = {}

    def note(name: str, module: nn.Module) -> None:
        module.register_forward_hook(
            lambda _m, _i, output: sides.__setitem__(name, output.shape[-1])
        )

    stages = ("conv1", "maxpool", "layer1", "layer2", "layer3", "layer4")
    for name in stages:
        note(name, network.get_submodule(name))
    with torch.no_grad():
        network(torch.randn(1, 3, 32, 32))
    assert [sides[name] for name in stages] == [32, 32, 32, 16, 8, 4]
    assert parameters(network) == 11_173_962


def test_resnet9_adds_its_residual() -> None:
    network = ResNet9(1, 10, 0.125).eval()
    residual = network.get_submodule("stages.1.2")
    maps = torch.randn(2, 16, 4, 4)
    with torch.no_grad():
        for parameter in residual.parameters():
            parameter.zero_()
        assert torch.equal(residual(maps), maps)


@pytest.mark.parametrize("name", NAMES)
def test_attention_layers_of_the_yaml_exist_and_give_maps(name: str) -> None:
    model, dataset = configs(name, 3, 32)
    network = builder(model, dataset)(0)
    layers = attention_layers(model, network, dataset.shape)
    assert layers == model.attention
    assert len(layers) >= 2
    shapes: list[torch.Size] = []
    for layer in layers:
        network.get_submodule(layer).register_forward_hook(
            lambda _m, _i, output: shapes.append(output.shape)
        )
    with torch.no_grad():
        network.eval()(torch.zeros(2, 3, 32, 32))
    assert len(shapes) == len(layers)
    assert all(len(shape) == 4 and shape[0] == 2 for shape in shapes)


@pytest.mark.parametrize("name", NAMES)
def test_batch_norm_of_the_yaml_is_what_the_network_has(name: str) -> None:
    model, dataset = configs(name)
    network = builder(model, dataset)(0)
    assert model.batch_norm == has_batch_norm(network) == (len(batch_norms(network)) > 0)


def test_batch_norm_without_statistics_does_not_count() -> None:
    network = nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False), nn.GroupNorm(1, 3))
    assert not has_batch_norm(network)
    assert batch_norms(network) == []
    first, last = nn.BatchNorm2d(3), nn.BatchNorm2d(4)
    flat = nn.BatchNorm1d(5)
    assert batch_norms(nn.Sequential(first, flat, nn.Sequential(last))) == [first, last]
    assert not has_batch_norm(nn.Sequential(flat)), "it has no statistics of images"


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_alone_decides_the_weights(name: str) -> None:
    build = builder(*configs(name))
    torch.manual_seed(1)
    first = build(3).state_dict()
    torch.manual_seed(2)
    again, other = builder(*configs(name))(3).state_dict(), build(4).state_dict()
    assert first.keys() == again.keys()
    assert all(torch.equal(first[key], again[key]) for key in first)
    weights = [key for key in first if first[key].ndim >= 2]
    assert len(weights) >= 5
    assert not any(torch.equal(first[key], other[key]) for key in weights)


@pytest.mark.parametrize("name", NAMES)
def test_building_leaves_the_global_generators_alone(name: str) -> None:
    np.random.seed(0)
    torch.manual_seed(5)
    state, expected = torch.get_rng_state(), np.random.get_state()[1].copy()
    builder(*configs(name))(3)
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(np.random.get_state()[1], expected)
