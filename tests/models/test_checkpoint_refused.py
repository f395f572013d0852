"""Checkpoints that are refused: one line for each, and the network keeps its weights."""

import gzip
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.models.checkpoints import State, network, prefixed, refusal, same, state
from unlearn.errors import ConfigError
from unlearn.models.checkpoint import load_into


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
        "lacks 1.bias, 1.running_mean, 1.running_var ...",
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
    "bool": (
        lambda s: {**s, "0.weight": s["0.weight"] > 0},
        "0.weight is torch.bool, must be floating point as torch.float32",
    ),
    "int8": (
        lambda s: {**s, "4.weight": s["4.weight"].char()},
        "4.weight is torch.int8, must be floating point as torch.float32",
    ),
    "too large for the network's type": (
        lambda s: {**s, "4.bias": torch.full((4,), 1e300, dtype=torch.float64)},
        "4.bias holds 1e+300, which torch.float32 cannot hold",
    ),
    "complex": (
        lambda s: {**s, "4.weight": s["4.weight"].to(torch.complex64)},
        "4.weight is torch.complex64, must be floating point as torch.float32",
    ),
    "nan in eight bits": (
        lambda s: {**s, "4.bias": torch.full((4,), float("nan")).to(torch.float8_e4m3fn)},
        "4.bias holds NaN or infinite values",
    ),
    "negative variance": (
        lambda s: {**s, "1.running_var": -s["1.running_var"]},
        "1.running_var holds negative variances",
    ),
    "a counter that is no count": (
        lambda s: {**s, "1.num_batches_tracked": torch.tensor(0.5)},
        "1.num_batches_tracked is torch.float32, must be integer as torch.int64",
    ),
    "another number of classes": (
        lambda s: {**s, "4.weight": torch.zeros(7, 108), "4.bias": torch.zeros(7)},
        "for a network of 7 classes, set dataset.num_classes=7",
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
        torch.save(prefixed("module.", weights) if layout == "parallel" else weights, path)
    assert words in refusal(path)


CONTENTS: dict[str, object] = {
    "list": [1, 2],
    "tensor": torch.zeros(3),
    "text": "weights",
    "nothing": None,
    "empty": {},
    "empty wrapper": {"state_dict": {}},
    "wrapper of nothing": {"state_dict": None, "epoch": 3},
    "values are lists": {"0.weight": [1.0, 2.0]},
    "names are numbers": {0: torch.zeros(1)},
    "a name is a number": {**network(1).state_dict(), 7: torch.zeros(1)},
    "a sparse tensor": {**network(1).state_dict(), "4.bias": torch.zeros(4).to_sparse()},
    "a tensor without values": {**network(1).state_dict(), "4.bias": torch.zeros(4, device="meta")},
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_content_that_is_no_state_dict(content: object, tmp_path: Path) -> None:
    path = tmp_path / "in.pt"
    torch.save(content, path)
    assert "must hold a state dict" in refusal(path)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n", "Git LFS"),
        (b"\n<!DOCTYPE html><html></html>", "web page"),
        (gzip.compress(b"weights"), "gzip"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
    ],
    ids=["lfs", "html", "gzip", "hdf5"],
)
def test_other_files_are_named(content: bytes, word: str, tmp_path: Path) -> None:
    (tmp_path / "in.pt").write_bytes(content)
    assert word in refusal(tmp_path / "in.pt")


def test_a_torchscript_file_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "in.pt", "w") as archive:
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py"):
            archive.writestr(f"net/{name}", b"")
    assert "TorchScript" in refusal(tmp_path / "in.pt")


def test_arrays_are_named(tmp_path: Path) -> None:
    arrays = {name: value.numpy() for name, value in state(network(1)).items()}
    torch.save(arrays, tmp_path / "in.pt")
    assert "(ndarray)" in refusal(tmp_path / "in.pt")


def test_a_misfit_names_the_nearest_reading(tmp_path: Path) -> None:
    weights = state(network(1))
    del weights["0.bias"]
    other = {"net.a": torch.zeros(1), "net.b": torch.zeros(1)}
    content = {"other": other, "params": prefixed("module.net.", weights)}
    torch.save(content, tmp_path / "in.pt")
    message = refusal(tmp_path / "in.pt")
    assert "lacks 0.bias" in message
    assert "unknown" not in message
    assert "8 entries found, 9 expected" in message
    assert "nearest reading: the state dict under params without the prefix module.net." in message


def test_extra_state_that_the_network_refuses(tmp_path: Path) -> None:
    class Refusing(torch.nn.Linear):
        def get_extra_state(self) -> int:
            return 1

        def set_extra_state(self, value: int) -> None:
            raise ValueError("cannot use it")

    torch.save(Refusing(2, 2).state_dict(), tmp_path / "in.pt")
    with pytest.raises(ConfigError, match="cannot use it"):
        load_into(Refusing(2, 2), str(tmp_path / "in.pt"))


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


@pytest.mark.parametrize("dtype", [torch.float16, torch.float8_e4m3fn])
def test_weights_that_outgrew_the_type_of_the_file_are_kept(
    dtype: torch.dtype, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = {k: v.to(dtype) if v.is_floating_point() else v for k, v in state(network(1)).items()}
    torch.save(weights, tmp_path / "in.pt")
    net = network(0)
    layout = load_into(net, str(tmp_path / "in.pt"))
    net.get_parameter("4.bias").data.fill_(1e6)
    layout.save(net, tmp_path / "out.pt")
    found = torch.load(tmp_path / "out.pt")
    assert found["4.bias"].tolist() == [1e6] * 4
    assert {name: value.dtype for name, value in found.items() if name != "4.bias"} == {
        name: value.dtype for name, value in weights.items() if name != "4.bias"
    }
    assert "4.bias is written as torch.float32" in capsys.readouterr().err


def test_a_file_that_unpacks_to_much_more_is_refused(tmp_path: Path) -> None:
    torch.save({**state(network(1)), "more": torch.zeros(2**20)}, tmp_path / "whole.pt")
    with (
        zipfile.ZipFile(tmp_path / "whole.pt") as whole,
        zipfile.ZipFile(tmp_path / "in.pt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in whole.namelist():
            packed.writestr(name, whole.read(name))
    assert "bytes that unpack to" in refusal(tmp_path / "in.pt")
