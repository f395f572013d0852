"""Model zoos: what they know of their images, and their folders there and back."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from tests.helpers.config import resolve
from unlearn.config.schema import RunConfig
from unlearn.errors import ConfigError
from unlearn.models.network import builder
from unlearn.models.zoo import load_teacher, shorten_names

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def config(*words: str) -> RunConfig:
    """The checked config of a run without data."""
    return resolve("dataset=none", "forget=[0]", "method=original", *words)


@pytest.mark.parametrize("zoo", ["timm", "torchvision"])
def test_shape_normalisation_and_classes_are_the_zoos_own(zoo: str) -> None:
    pytest.importorskip(zoo)
    run = config(f"model={zoo}", "model.architecture=resnet18", "model.checkpoint=pretrained")
    assert run.dataset.shape == (3, 224, 224)
    assert (run.dataset.mean, run.dataset.std) == IMAGENET
    assert run.dataset.num_classes == 1000
    assert len(set(run.dataset.classes)) == 1000
    assert run.dataset.classes[:3] == ("tench", "goldfish", "great white shark")
    assert run.model.name == "resnet18"
    assert "describe" not in run.model.arguments


def test_what_the_user_types_wins_over_the_zoo() -> None:
    run = config(
        *("model=torchvision", "model.architecture=resnet18", "model.checkpoint=my.pt"),
        *("dataset.shape=[3,32,32]", "dataset.num_classes=7", "dataset.mean=[0.1,0.2,0.3]"),
    )
    assert (run.dataset.shape, run.dataset.num_classes) == ((3, 32, 32), 7)
    assert (run.dataset.mean, run.dataset.std) == ((0.1, 0.2, 0.3), IMAGENET[1])
    assert run.dataset.classes is None


@pytest.mark.parametrize("zoo", ["timm", "torchvision"])
def test_unknown_networks_are_refused(zoo: str) -> None:
    pytest.importorskip(zoo)
    with pytest.raises(ConfigError, match="resnet18") as caught:
        config(f"model={zoo}", "model.architecture=resnet_18", "model.checkpoint=x")
    assert caught.value.key == "model.architecture"


def test_network_that_is_not_named() -> None:
    with pytest.raises(ConfigError, match="must be given"):
        config("model=torchvision", "model.checkpoint=x")


def test_one_channel_needs_its_own_normalisation() -> None:
    words = ("model=torchvision", "model.architecture=resnet18", "model.checkpoint=x")
    with pytest.raises(ConfigError, match=r"dataset\.mean=\?\?\?: must be given"):
        config(*words, "dataset.shape=[1,32,32]")


def test_pretrained_weights_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a network the weights cannot be fetched: they are put where they would be."""
    from torchvision.models import ResNet18_Weights, resnet18

    torch.manual_seed(5)
    given = resnet18().state_dict()
    monkeypatch.setattr(ResNet18_Weights, "get_state_dict", lambda *a, **k: given)
    words = ("model=torchvision", "model.architecture=resnet18", "model.checkpoint=pretrained")
    run = config(*words, "dataset.shape=[3,32,32]")
    network = builder(run.model, run.dataset)(0)
    layout = load_teacher(network, run.model)
    assert layout.suffix == ".safetensors"
    assert all(torch.equal(given[name], value) for name, value in network.state_dict().items())


def test_weights_that_a_network_cannot_fetch_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    run = config("model=lenet", *SMALL, "model.checkpoint=pretrained")
    network = builder(run.model, run.dataset)(0)
    with pytest.raises(ConfigError, match="no such file"):
        load_teacher(network, run.model)


SMALL = (
    *("dataset.shape=[3,32,32]", "dataset.num_classes=3"),
    *("dataset.mean=[0.5,0.5,0.5]", "dataset.std=[0.5,0.5,0.5]"),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny ViT as `save_pretrained` writes it, in half precision."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 16, "image_size": 16, "patch_size": 8}
    labels = {0: "cat", 1: "dog", 2: "bird"}
    settings = transformers.ViTConfig(**sizes, id2label=labels, label2id={})
    network: Any = transformers.ViTForImageClassification(settings).half()
    network.save_pretrained(tmp_path / "vit")
    normed = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.2, 0.3]}
    images = transformers.ViTImageProcessor(size={"height": 16, "width": 16}, **normed)
    images.save_pretrained(tmp_path / "vit")
    return tmp_path / "vit"


def test_hugging_face_folder_there_and_back(folder: Path, tmp_path: Path) -> None:
    run = config("model=huggingface", f"model.path={folder}")
    assert run.dataset.shape == (3, 16, 16)
    assert (run.dataset.mean, run.dataset.std) == ((0.4, 0.5, 0.6), (0.2, 0.2, 0.3))
    assert run.dataset.classes == ("cat", "dog", "bird")
    assert run.model.checkpoint == str(folder)
    network = builder(run.model, run.dataset)(0)
    layout = load_teacher(network, run.model)
    assert next(network.parameters()).dtype == torch.float32
    layout.save(network, tmp_path / "student.safetensors")
    given = load_file(folder / "model.safetensors")
    for file in (tmp_path / "student.safetensors", tmp_path / "student" / "model.safetensors"):
        back = load_file(file)
        assert list(back) == list(given)
        assert all(torch.equal(back[k], v) and back[k].dtype == v.dtype for k, v in given.items())
    names = {file.name for file in (tmp_path / "student").iterdir()}
    assert names == {"config.json", "model.safetensors", "preprocessor_config.json"}


def test_hugging_face_folder_without_a_head_is_refused(folder: Path) -> None:
    """Transformers itself would give it a random one."""
    from transformers import ViTModel

    ViTModel.from_pretrained(folder).save_pretrained(folder)
    run = config("model=huggingface", f"model.path={folder}", *SMALL[1:], "dataset.shape=[3,16,16]")
    network: nn.Module = builder(run.model, run.dataset)(0)
    with pytest.raises(ConfigError, match=r"lacks classifier\.bias"):
        load_teacher(network, run.model)


def test_hugging_face_folder_that_is_not_there() -> None:
    pytest.importorskip("transformers")
    with pytest.raises(ConfigError) as caught:
        config("model=huggingface", "model.path=./nowhere/at/all")
    assert caught.value.key == "model.path"


def test_names_of_classes_are_short_and_differ() -> None:
    names = ["tench, Tinca tinca", "crane, bird", "crane, machine", "maillot", "maillot"]
    expected = ["tench", "crane, bird", "crane, machine", "maillot 3", "maillot 4"]
    assert shorten_names(names) == expected
