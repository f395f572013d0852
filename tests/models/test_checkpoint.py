"""Checkpoints in every accepted layout and back, and one line for each that is refused."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from unlearn.errors import ConfigError
from unlearn.models.checkpoint import CheckpointFormat, load_into

State = dict[str, Tensor]


def network(seed: int) -> nn.Sequential:
    """A small network with batch norm whose statistics are not the initial ones."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 4)
    )
    for _ in range(seed + 1):
        net(torch.randn(8, 1, 8, 8) + seed)
    return net


def state(net: nn.Module) -> State:
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def same(first: State, second: State) -> bool:
    return list(first) == list(second) and all(
        first[k].dtype == second[k].dtype and torch.equal(first[k], second[k]) for k in first
    )


def parallel(weights: State) -> State:
    """The names as DataParallel saves them."""
    return {f"module.{name}": tensor for name, tensor in weights.items()}


def refusal(path: Path, net: nn.Module | None = None) -> str:
    """The one line that a checkpoint is refused with; the network keeps its weights."""
    net = net or network(0)
    before = state(net)
    with pytest.raises(ConfigError) as caught:
        load_into(net, str(path))
    message = str(caught.value)
    assert caught.value.key == "model.checkpoint"
    assert message.startswith(f"model.checkpoint={path}: ")
    assert "\n" not in message
    assert same(state(net), before)
    return message


@pytest.mark.parametrize("prefix", ["", "module."])
def test_safetensors_there_and_back(prefix: str, tmp_path: Path) -> None:
    weights = state(network(1))
    path, back = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
    save_file({prefix + name: tensor for name, tensor in weights.items()}, path)
    net = network(2)
    layout = load_into(net, str(path))
    assert same(state(net), weights)
    assert layout == CheckpointFormat(".safetensors", None, prefix, {})
    unlearned = network(3)
    layout.save(unlearned, back)
    expected = {prefix + name: tensor for name, tensor in unlearned.state_dict().items()}
    found = load_file(back)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert load_into(net, str(back)) == layout
    assert same(state(net), state(unlearned))


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ""])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_bare_state_dict_there_and_back(prefix: str, suffix: str, tmp_path: Path) -> None:
    weights = state(network(1))
    path, back = tmp_path / f"in{suffix}", tmp_path / "out.pt"
    torch.save({prefix + name: tensor for name, tensor in weights.items()}, path)
    net = network(2)
    layout = load_into(net, str(path))
    assert same(state(net), weights)
    assert layout == CheckpointFormat(suffix or ".pt", None, prefix, {})
    unlearned = network(3)
    layout.save(unlearned, back)
    found = torch.load(back, weights_only=True)
    assert same(found, {prefix + k: v for k, v in unlearned.state_dict().items()})
    assert load_into(net, str(back)).prefix == prefix
    assert same(state(net), state(unlearned))


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_wrapped_state_dict_keeps_its_wrapper_and_what_is_no_weight(
    prefix: str, wrapper: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An average of the weights, or a momentum, would hand back what is to be forgotten."""
    weights = state(network(1))
    path, back = tmp_path / "in.pt", tmp_path / "out.pt"
    rest = {"epoch": 3, "arch": "small", "config": {"lr": 0.1, "betas": [0.9, 0.999]}}
    known = {"optimizer": {"lr": 0.1, "momentum": [torch.ones(2)]}, "state_dict_ema": weights}
    torch.save({wrapper: {prefix + k: v for k, v in weights.items()}, **rest, **known}, path)
    net = network(2)
    layout = load_into(net, str(path))
    assert same(state(net), weights)
    assert (layout.suffix, layout.wrapper, layout.prefix) == (".pt", wrapper, prefix)
    unlearned = network(3)
    layout.save(unlearned, back)
    found = torch.load(back, weights_only=True)
    assert set(found) == {wrapper, *rest}
    assert {key: found[key] for key in rest} == rest
    (line,) = capsys.readouterr().err.splitlines()
    assert "optimizer, state_dict_ema will not be in the result" in line
    assert same(found[wrapper], {prefix + k: v for k, v in unlearned.state_dict().items()})


def test_old_torch_format(tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    torch.save(state(network(1)), path, _use_new_zipfile_serialization=False)
    net = network(2)
    load_into(net, str(path))
    assert same(state(net), state(network(1)))


def test_network_whose_own_names_begin_with_module(tmp_path: Path) -> None:
    path, back = tmp_path / "in.pt", tmp_path / "out.pt"
    wrapped = [nn.ModuleDict({"module": network(seed)}) for seed in (1, 2)]
    torch.save(wrapped[0].state_dict(), path)
    layout = load_into(wrapped[1], str(path))
    assert layout.prefix == ""
    assert same(state(wrapped[1]), state(wrapped[0]))
    torch.save(parallel(wrapped[0].state_dict()), path)
    layout = load_into(wrapped[1], str(path))
    assert layout.prefix == "module."
    layout.save(wrapped[1], back)
    assert same(torch.load(back, weights_only=True), parallel(state(wrapped[0])))


def test_half_precision_is_read_into_the_networks_own(tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    weights = {k: v.half() if v.is_floating_point() else v for k, v in state(network(1)).items()}
    save_file(weights, path)
    net = network(2)
    load_into(net, str(path))
    assert net[4].weight.dtype == torch.float32
    assert torch.equal(net[4].weight, weights["4.weight"].float())


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_shared_and_channels_last_weights_can_be_saved(suffix: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Linear(4, 4), nn.Linear(4, 4))
    net[2].weight = net[1].weight
    net = net.to(memory_format=torch.channels_last)
    assert not net[0].weight.is_contiguous()
    path = tmp_path / f"out{suffix}"
    CheckpointFormat(suffix).save(net, path)
    again = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Linear(4, 4), nn.Linear(4, 4))
    load_into(again, str(path))
    assert all(torch.equal(again.state_dict()[k], v) for k, v in net.state_dict().items())


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    torch.save(state(network(1)), tmp_path / "in.pt")
    net = network(2)
    load_into(net, "~/in.pt")
    assert same(state(net), state(network(1)))


@pytest.mark.parametrize("name", ["absent.pt", "absent.safetensors"])
def test_missing_file(name: str, tmp_path: Path) -> None:
    assert f"looked at {tmp_path / name}" in refusal(tmp_path / name)


def test_folder_is_no_file(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.5, 0.99])
def test_truncated_safetensors(share: float, tmp_path: Path) -> None:
    path = tmp_path / "in.safetensors"
    save_file(state(network(1)), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert "not a readable safetensors file" in refusal(path)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old format"])
def test_truncated_torch_file(zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "in.pt"
    torch.save(state(network(1)), path, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    net = network(0)
    for length in [*range(0, 220), *range(220, len(content), len(content) // 40)]:
        path.write_bytes(content[:length])
        message = refusal(path, net)
        assert "truncated" in message or "damaged" in message
    path.write_bytes(content)
    load_into(net, str(path))
    assert same(state(net), state(network(1)))


@pytest.mark.parametrize("name", ["in.pt", "in.safetensors"])
@pytest.mark.parametrize(
    "content",
    [b"<html>404 Not Found</html>", b"hello\nworld\n", b"\x89PNG\r\n\x1a\n" + bytes(range(256))],
)
def test_file_that_is_no_checkpoint(content: bytes, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    refusal(tmp_path / name)


def test_wrong_format_for_the_suffix(tmp_path: Path) -> None:
    torch.save(state(network(1)), tmp_path / "torch.safetensors")
    refusal(tmp_path / "torch.safetensors")
    save_file(state(network(1)), tmp_path / "safe.safetensors")
    (tmp_path / "safe.safetensors").rename(tmp_path / "safe.pt")
    refusal(tmp_path / "safe.pt")


Change = Callable[[State], dict[Any, Any]]
MISFITS: dict[str, tuple[Change, str]] = {
    "wrong shape": (
        lambda s: {**s, "4.weight": torch.zeros(5, 108)},
        "does not fit Sequential: 4.weight is [5, 108], must be [4, 108]",
    ),
    "wrong number of dimensions": (
        lambda s: {**s, "4.bias": torch.zeros(4, 1)},
        "does not fit Sequential: 4.bias is [4, 1], must be [4]",
    ),
    "missing key": (
        lambda s: {k: v for k, v in s.items() if k != "0.bias"},
        "does not fit Sequential: lacks 0.bias",
    ),
    "missing keys": (
        lambda s: {k: v for k, v in s.items() if not k.startswith("1.")},
        "lacks 1.bias, 1.num_batches_tracked, 1.running_mean ...",
    ),
    "surplus key": (
        lambda s: {**s, "5.weight": torch.zeros(1)},
        "does not fit Sequential: has unknown 5.weight",
    ),
    "missing and surplus": (
        lambda s: {("stem" if k == "0.weight" else k): v for k, v in s.items()},
        "does not fit Sequential: lacks 0.weight; has unknown stem",
    ),
    "prefix on some keys": (
        lambda s: {("module.0.bias" if k == "0.bias" else k): v for k, v in s.items()},
        "lacks 0.bias; has unknown module.0.bias",
    ),
    "nan": (
        lambda s: {**s, "4.bias": torch.tensor([0.0, float("nan"), 0.0, 0.0])},
        "4.bias holds NaN or infinite values",
    ),
    "infinite": (
        lambda s: {**s, "1.running_var": torch.tensor([1.0, float("inf"), 1.0])},
        "1.running_var holds NaN or infinite values",
    ),
}


@pytest.mark.parametrize("layout", ["bare", "wrapped", "parallel", "safetensors"])
@pytest.mark.parametrize("misfit", MISFITS)
def test_state_that_does_not_fit(misfit: str, layout: str, tmp_path: Path) -> None:
    change, words = MISFITS[misfit]
    weights = change(state(network(1)))
    path = tmp_path / "in.pt"
    if layout == "safetensors":
        path = tmp_path / "in.safetensors"
        save_file(weights, path)
    elif layout == "wrapped":
        torch.save({"state_dict": weights, "epoch": 3}, path)
    else:
        torch.save(parallel(weights) if layout == "parallel" else weights, path)
    assert words in refusal(path)


@pytest.mark.parametrize(
    "content",
    [
        [1, 2],
        torch.zeros(3),
        "weights",
        None,
        {},
        {"state_dict": {}},
        {"state_dict": None, "epoch": 3},
        {"0.weight": [1.0, 2.0]},
        {"layers": {"0.weight": torch.zeros(1)}},
        {0: torch.zeros(1)},
        {**network(1).state_dict(), 7: torch.zeros(1)},
        {**network(1).state_dict(), "4.bias": torch.zeros(4).to_sparse()},
        {**network(1).state_dict(), "4.bias": torch.zeros(4, device="meta")},
    ],
    ids=[
        "list",
        "tensor",
        "text",
        "nothing",
        "empty",
        "empty wrapper",
        "wrapper of nothing",
        "values are lists",
        "unknown wrapper",
        "names are numbers",
        "a name is a number",
        "a sparse tensor",
        "a tensor without values",
    ],
)
def test_content_that_is_no_state_dict(content: object, tmp_path: Path) -> None:
    path = tmp_path / "in.pt"
    torch.save(content, path)
    assert "must hold a state dict" in refusal(path)


class Malicious:
    """Creates a file as soon as it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., None], tuple[Path]]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("layout", ["pickle", "zip", "old format", "beside the weights"])
def test_code_in_a_pickle_is_refused_and_not_run(layout: str, tmp_path: Path) -> None:
    mark, path = tmp_path / "it ran", tmp_path / "in.pt"
    if layout == "pickle":
        path.write_bytes(pickle.dumps(Malicious(mark)))
    elif layout == "beside the weights":
        torch.save({"state_dict": state(network(1)), "extra": Malicious(mark)}, path)
    else:
        zipped = layout == "zip"
        torch.save({"w": Malicious(mark)}, path, _use_new_zipfile_serialization=zipped)
    assert "could run code" in refusal(path)
    assert not mark.exists()


def test_the_malicious_pickle_would_have_run(tmp_path: Path) -> None:
    mark, path = tmp_path / "it ran", tmp_path / "in.pt"
    torch.save({"w": Malicious(mark)}, path)
    torch.load(path, weights_only=False)
    assert mark.exists()


def test_whole_pickled_network_is_refused(tmp_path: Path) -> None:
    torch.save(network(1), tmp_path / "in.pt")
    assert "save a plain state dict instead" in refusal(tmp_path / "in.pt")
