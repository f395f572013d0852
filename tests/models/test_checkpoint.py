"""Checkpoints in every layout that is read, and back in the same layout."""

import argparse
import os
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file, save_model
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from tests.models.checkpoints import State, network, prefixed, same, state
from unlearn.models.checkpoint import CheckpointFormat, load_into, own_format


def read(path: Path) -> Any:
    """The content of a checkpoint, whichever of the two formats it has."""
    if path.suffix == ".safetensors":
        return load_file(path)
    return torch.load(path, weights_only=True)


def there_and_back(path: Path, weights: State) -> tuple[Any, State, CheckpointFormat]:
    """Load a file that holds `weights`; return another network written in its format."""
    net = network(2)
    layout = load_into(net, str(path))
    assert all(torch.equal(net.state_dict()[k], v.float()) for k, v in weights.items() if v.ndim)
    unlearned, back = network(3), path.with_name(f"out{path.suffix or '.pt'}")
    layout.save(unlearned, back)
    assert back.suffix == layout.suffix
    load_into(net, str(back))
    return read(back), state(unlearned), layout


PREFIXES = ["", "module.", "_orig_mod.", "module._orig_mod.", "model.", "ema.module.", "a.b."]


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth", ".th", ".bin", ".ckpt", ""])
@pytest.mark.parametrize("prefix", PREFIXES)
def test_bare_state_dict(prefix: str, suffix: str, tmp_path: Path) -> None:
    weights = state(network(1))
    path = tmp_path / f"in{suffix}"
    save = save_file if suffix == ".safetensors" else torch.save
    save(prefixed(prefix, weights), path)
    found, unlearned, layout = there_and_back(path, weights)
    expected = prefixed(prefix, unlearned)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    if suffix != ".safetensors":  # its library orders the names
        assert same(found, expected)
    assert layout.wrapper == ()


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "net", "params", "my own", "a/b/c"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_wrapper_is_found_by_its_content(prefix: str, wrapper: str, tmp_path: Path) -> None:
    weights = state(network(1))
    content: Any = prefixed(prefix, weights)
    for key in reversed(wrapper.split("/")):
        content = {"epoch": 3, key: content, "arch": "small"}
    torch.save(content, tmp_path / "in.pt")
    found, unlearned, layout = there_and_back(tmp_path / "in.pt", weights)
    assert layout.wrapper == tuple(wrapper.split("/"))
    for key in layout.wrapper:
        assert list(found) == ["epoch", key, "arch"]
        found = found[key]
    assert same(found, prefixed(prefix, unlearned))


def test_averages_and_momenta_are_not_read_and_not_written(tmp_path: Path) -> None:
    """They may hold what is to be forgotten."""
    weights, other = state(network(1)), state(network(5))
    rest = {"config": {"lr": 0.1, "betas": [0.9, 0.999]}, "acc": np.float64(95.1)}
    momenta = {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]}
    content = {"model_ema": other, "model": weights, "optimizer": momenta, "array": np.ones(3)}
    torch.save({**content, **rest}, tmp_path / "in.pt")
    net = network(2)
    layout = load_into(net, str(tmp_path / "in.pt"))
    assert same(state(net), weights)
    assert layout.dropped == ("model_ema", "optimizer", "array")
    layout.save(network(3), tmp_path / "out.pt")
    found = torch.load(tmp_path / "out.pt", weights_only=False)
    assert {key: found[key] for key in rest} == rest
    assert list(found) == ["model", *rest]
    assert same(found["model"], state(network(3)))


@pytest.mark.parametrize(
    "value",
    [
        *(np.float64(95.1), np.float32(0.5), np.int64(3), np.bool_(True), np.str_("a")),
        *(np.ones(3), np.arange(4), Path("/somewhere"), argparse.Namespace(lr=0.1, name="a")),
        *(OrderedDict(a=1), {1, 2}, torch.Size([1, 2]), torch.device("cpu"), b"bytes", 1j),
    ],
    ids=lambda value: type(value).__name__,
)
def test_plain_values_beside_the_weights_are_read(value: object, tmp_path: Path) -> None:
    weights = state(network(1))
    torch.save({"state_dict": weights, "beside": value}, tmp_path / "in.pt")
    net = network(2)
    load_into(net, str(tmp_path / "in.pt"))
    assert same(state(net), weights)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_precision_comes_back(dtype: torch.dtype, suffix: str, tmp_path: Path) -> None:
    weights = {k: v.to(dtype) if v.is_floating_point() else v for k, v in state(network(1)).items()}
    path = tmp_path / f"in{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(weights, path)
    net = network(2)
    load_into(net, str(path))
    assert {v.dtype for v in net.parameters()} == {torch.float32}
    found, unlearned, _ = there_and_back(path, weights)
    assert {k: v.dtype for k, v in found.items()} == {k: v.dtype for k, v in weights.items()}
    assert all(torch.equal(v, unlearned[k].to(v.dtype)) for k, v in found.items())


def test_metadata_of_safetensors_comes_back(tmp_path: Path) -> None:
    metadata = {"format": "pt", "labels": "a,b,c"}
    save_file(state(network(1)), tmp_path / "in.safetensors", metadata=metadata)
    there_and_back(tmp_path / "in.safetensors", state(network(1)))
    with safe_open(tmp_path / "out.safetensors", "pt") as back:
        assert back.metadata() == metadata


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_counters_of_batch_norm_may_be_absent(suffix: str, tmp_path: Path) -> None:
    """PyTorch before 0.4.1 did not write them; today's loads such files."""
    weights = {k: v for k, v in state(network(1)).items() if "num_batches" not in k}
    path = tmp_path / f"in{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(weights, path)
    found, _, _ = there_and_back(path, weights)
    assert found.keys() == weights.keys()


def test_order_and_metadata_of_a_torch_file_come_back(tmp_path: Path) -> None:
    weights = OrderedDict(reversed(network(1).state_dict().items()))
    weights._metadata = network(1).state_dict()._metadata
    torch.save(weights, tmp_path / "in.pt")
    found, _, _ = there_and_back(tmp_path / "in.pt", weights)
    assert list(found) == list(weights)
    assert type(found) is OrderedDict
    assert found._metadata == weights._metadata


@pytest.mark.parametrize("zipped", [True, False])
def test_both_formats_of_torch(zipped: bool, tmp_path: Path) -> None:
    weights, path = state(network(1)), tmp_path / "in.pth"
    torch.save(weights, path, _use_new_zipfile_serialization=zipped)
    found, unlearned, _ = there_and_back(path, weights)
    assert same(found, unlearned)
    assert ((tmp_path / "out.pth").read_bytes()[:2] == b"PK") == zipped


def test_averaged_model_of_torch(tmp_path: Path) -> None:
    averaged = AveragedModel(network(1))
    torch.save(averaged.state_dict(), tmp_path / "in.pt")
    found, unlearned, _ = there_and_back(tmp_path / "in.pt", state(network(1)))
    assert {k: v for k, v in found.items() if k != "n_averaged"}.keys() == (
        prefixed("module.", unlearned).keys()
    )
    AveragedModel(network(1)).load_state_dict(found)


def test_compiled_part_of_a_network(tmp_path: Path) -> None:
    weights = state(network(1))
    torch.save({k.replace("4.", "4._orig_mod."): v for k, v in weights.items()}, tmp_path / "in.pt")
    found, _, _ = there_and_back(tmp_path / "in.pt", weights)
    assert list(found)[-2:] == ["4._orig_mod.weight", "4._orig_mod.bias"]


def test_network_whose_own_names_begin_with_module(tmp_path: Path) -> None:
    path, back = tmp_path / "in.pt", tmp_path / "out.pt"
    wrapped = [nn.ModuleDict({"module": network(seed)}) for seed in (1, 2)]
    for prefix in ("", "module."):
        torch.save(prefixed(prefix, wrapped[0].state_dict()), path)
        layout = load_into(wrapped[1], str(path))
        assert same(state(wrapped[1]), state(wrapped[0]))
        layout.save(wrapped[1], back)
        assert same(read(back), prefixed(prefix, state(wrapped[0])))


class Tied(nn.Module):
    """Two layers share one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
        self.b.weight = self.a.weight


def _save_twice(net: Tied, path: Path) -> None:
    torch.save(net.state_dict(), path)


@pytest.mark.parametrize(("save", "suffix"), [(save_model, ".safetensors"), (_save_twice, ".pt")])
def test_tied_weights(save: Callable[..., None], suffix: str, tmp_path: Path) -> None:
    first, second = Tied(), Tied()
    save(first, path := tmp_path / f"in{suffix}")
    layout = load_into(second, str(path))
    assert same(state(second), state(first))
    layout.save(second, back := tmp_path / f"out{suffix}")
    assert read(back).keys() == read(path).keys()
    again = Tied()
    load_into(again, str(back))
    assert same(state(again), state(first))


class ExtraState(nn.Sequential):
    """Keeps a value of its own in its state dict."""

    classes: Any = "unknown"

    def get_extra_state(self) -> Any:
        return self.classes

    def set_extra_state(self, value: Any) -> None:
        self.classes = value


@pytest.mark.parametrize("value", [{"classes": ["a", "b"]}, torch.arange(3), None])
def test_extra_state(value: Any, tmp_path: Path) -> None:
    first, second = ExtraState(nn.Linear(2, 2)), ExtraState(nn.Linear(2, 2))
    first.classes = value
    torch.save(prefixed("net.", first.state_dict()), tmp_path / "in.pt")
    layout = load_into(second, str(tmp_path / "in.pt"))
    layout.save(second, tmp_path / "out.pt")
    assert str(read(tmp_path / "out.pt")["net._extra_state"]) == str(value)
    own_format(second).save(second, path := tmp_path / f"own{own_format(second).suffix}")
    third = ExtraState(nn.Linear(2, 2))
    load_into(third, str(path))
    assert str(third.classes) == str(value)


class Renamed(nn.Linear):
    """Reads files in which its weight had another name."""

    def _load_from_state_dict(self, state_dict: State, prefix: str, *others: Any) -> None:
        if f"{prefix}kernel" in state_dict:
            state_dict[f"{prefix}weight"] = state_dict.pop(f"{prefix}kernel")
        super()._load_from_state_dict(state_dict, prefix, *others)


def test_layers_that_rename_what_they_load(tmp_path: Path) -> None:
    weights = {"module.0.kernel": torch.ones(2, 2), "module.0.bias": torch.ones(2)}
    torch.save(weights, tmp_path / "in.pt")
    net = nn.Sequential(Renamed(2, 2))
    load_into(net, str(tmp_path / "in.pt"))
    assert torch.equal(net[0].weight, torch.ones(2, 2))


def test_infinite_values_that_the_network_itself_has(tmp_path: Path) -> None:
    """Attention masks are often minus infinity."""
    nets = [nn.Linear(2, 2), nn.Linear(2, 2)]
    for net in nets:
        net.register_buffer("mask", torch.tensor([0.0, float("-inf")]))
    torch.save(nets[0].state_dict(), tmp_path / "in.pt")
    load_into(nets[1], str(tmp_path / "in.pt"))
    assert torch.equal(nets[1].weight, nets[0].weight)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_channels_last_weights_can_be_saved(suffix: str, tmp_path: Path) -> None:
    net: nn.Module = nn.Sequential(nn.Conv2d(2, 3, 3)).to(memory_format=torch.channels_last)
    weight: Tensor = net.state_dict()["0.weight"]
    assert not weight.is_contiguous()
    CheckpointFormat(suffix).save(net, path := tmp_path / f"out{suffix}")
    again = nn.Sequential(nn.Conv2d(2, 3, 3))
    load_into(again, str(path))
    assert torch.equal(again[0].weight, weight)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077])
def test_the_mode_of_the_file_follows_the_umask(umask: int, suffix: str, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        CheckpointFormat(suffix).save(network(0), path := tmp_path / f"out{suffix}")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    torch.save(state(network(1)), tmp_path / "in.pt")
    net = network(2)
    load_into(net, "~/in.pt")
    assert same(state(net), state(network(1)))
