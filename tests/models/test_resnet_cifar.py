"""The ResNets of He et al. (2016) for small images: sizes, names, and the shortcut."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from unlearn.errors import ConfigError
from unlearn.models.checkpoint import load_into
from unlearn.models.resnet_cifar import CifarResNet


@pytest.mark.parametrize(("depth", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85)])
def test_published_size(depth: int, millions: float) -> None:
    network = CifarResNet(3, 10, depth)
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 2) == millions
    weighted = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(weighted) == depth


def test_names_are_those_of_the_shared_checkpoints() -> None:
    names = set(CifarResNet(3, 10, 20).state_dict())
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    block = ["conv1.weight", "conv2.weight", *(f"bn{i}.{part}" for i in (1, 2) for part in norm)]
    blocks = {f"layer{s}.{b}.{part}" for s in (1, 2, 3) for b in (0, 1, 2) for part in block}
    ends = {"conv1.weight", *(f"bn1.{part}" for part in norm), "linear.weight", "linear.bias"}
    assert names == blocks | ends


def test_shortcut_takes_every_second_pixel_and_adds_zeros_around_its_channels() -> None:
    block = CifarResNet(3, 10, 20).eval().get_submodule("layer2.0")
    nn.init.zeros_(block.get_parameter("bn2.weight"))
    maps = torch.rand(2, 16, 6, 6)
    with torch.no_grad():
        found = block(maps)
    assert found.shape == (2, 32, 3, 3)
    assert torch.equal(found[:, 8:24], maps[:, :, ::2, ::2])
    assert found[:, :8].abs().sum() == found[:, 24:].abs().sum() == 0


@pytest.mark.parametrize(
    ("key", "values"),
    [("depth=2", (2,)), ("depth=18", (18,)), ("depth=21", (21,)), ("width=0.01", (20, 0.01))],
)
def test_impossible_depths_and_widths_are_refused(key: str, values: tuple[Any, ...]) -> None:
    with pytest.raises(ConfigError, match=f"model.{key}"):
        CifarResNet(3, 10, *values)


@pytest.mark.parametrize(("depth", "name"), [(20, "resnet20-12fca82f"), (32, "resnet32-d509ac18")])
def test_third_party_checkpoint(depth: int, name: str, tmp_path: Path) -> None:
    """Set SHARED_CHECKPOINTS to a folder with the files of akamaster/pytorch_resnet_cifar10."""
    path = Path(os.environ.get("SHARED_CHECKPOINTS", ".")) / f"{name}.th"
    if not path.exists():
        pytest.skip("the checkpoint is not here")
    given = torch.load(path, map_location="cpu", weights_only=True)
    network = CifarResNet(3, 10, depth)
    layout = load_into(network, str(path))
    layout.save(network, tmp_path / "out.th")
    back = torch.load(tmp_path / "out.th", weights_only=True)
    assert list(back) == list(given)
    assert back["best_prec1"] == given["best_prec1"]
    assert list(back["state_dict"]) == list(given["state_dict"])
    assert all(torch.equal(back["state_dict"][k], v) for k, v in given["state_dict"].items())
