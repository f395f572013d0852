"""Networks in the cache: found again, and trained again if what is there cannot be read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.helpers.tiny import CPU, TinyNet, seeded_net
from unlearn.runner.networks import train_once


class Training:
    """Gives a network the weights of another, and counts how often."""

    def __init__(self, network: nn.Module) -> None:
        self.network, self.count = network, 0

    def __call__(self, folder: Path) -> None:
        self.count += 1
        self.network.load_state_dict(seeded_net(1).state_dict())


def fetch(folder: Path) -> int:
    """Fetch a network from the cache; return how often it was trained."""
    network = TinyNet()
    fit = Training(network)
    train_once(folder, "teacher", {"seed": 1}, network, fit, lambda: {"test": 99.0})
    wanted = seeded_net(1).state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in network.state_dict().items())
    assert not network.training
    return fit.count


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-101] ^= 0x40
    file.write_bytes(content)


def replace_weights(file: Path) -> None:
    """Put another network of the same architecture there."""
    other = file.parent.parent / "other"
    network = TinyNet()
    train_once(other, "retrained", {}, network, lambda _: None, dict)
    (found,) = other.glob("*/model.safetensors")
    file.write_bytes(found.read_bytes())


DAMAGE: dict[str, tuple[str, Callable[[Path], object]]] = {
    "cut": ("model.safetensors", lambda f: f.write_bytes(f.read_bytes()[:1000])),
    "zeros": ("model.safetensors", lambda f: f.write_bytes(bytes(f.stat().st_size))),
    "gone": ("model.safetensors", Path.unlink),
    "a flipped bit": ("model.safetensors", flip),
    "another network": ("model.safetensors", replace_weights),
    "note cut": ("model.json", lambda f: f.write_text('{"seconds": ')),
    "note empty": ("model.json", lambda f: f.write_text("")),
    "note without digest": ("model.json", lambda f: f.write_text('{"seconds": 1}')),
    "note without keys": ("model.json", lambda f: f.write_text("{}")),
    "note of another type": ("model.json", lambda f: f.write_text("[]")),
    "note of bytes": ("model.json", lambda f: f.write_bytes(b"\xff\x00")),
}


def test_network_is_trained_once(tmp_path: Path) -> None:
    assert [fetch(tmp_path), fetch(tmp_path)] == [1, 0]


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_network_is_named_once_and_made_again(
    damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch(tmp_path)
    (note,) = tmp_path.glob("teacher-*/model.json")
    name, harm = DAMAGE[damage]
    harm(note.with_name(name))
    assert fetch(tmp_path) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert str(note.parent) in line
    assert fetch(tmp_path) == 0
    assert capsys.readouterr().err == ""


def test_whole_network_is_loaded_without_a_lock(tmp_path: Path) -> None:
    fetch(tmp_path)
    (place,) = tmp_path.iterdir()
    (place / ".lock").unlink()
    assert fetch(tmp_path) == 0
    assert sorted(path.name for path in place.iterdir()) == ["model.json", "model.safetensors"]


def test_arithmetic_of_a_cpu_knows_the_number_of_threads() -> None:
    """Sums over threads differ in their last bits, and so do the networks trained with them."""
    before, found = torch.get_num_threads(), []
    for threads in (1, 2, 1):
        torch.set_num_threads(threads)
        found.append(CPU.describe_arithmetic())
    torch.set_num_threads(before)
    assert found[0] == found[2] != found[1]
