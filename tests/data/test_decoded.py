"""Decoded images: kept in files, decoded once, read from disk if they exceed the memory."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from unlearn.data.decoded import Part, load_decoded
from unlearn.data.source import RawImages
from unlearn.errors import ConfigError

SHAPE = (3, 4, 5)
_GENERATOR = np.random.default_rng(4)
IMAGES = {
    name: _GENERATOR.integers(0, 256, (count, *SHAPE), dtype=np.uint8)
    for name, count in (("train", 5), ("test", 2), ("validation", 3))
}


class Decoder:
    """Loads the images above, and counts how often each split is decoded."""

    def __init__(self) -> None:
        self.decoded: list[str] = []

    def parts(self) -> dict[str, Part]:
        def decode(name: str) -> Iterator[np.ndarray]:
            self.decoded.append(name)
            yield from (IMAGES[name][i : i + 2] for i in range(0, len(IMAGES[name]), 2))

        return {
            name: Part(torch.arange(len(images)), lambda name=name: decode(name))
            for name, images in IMAGES.items()
        }

    def load(self, cache: Path | None, memory: float = 1e9, key: str = "a") -> RawImages:
        raw = load_decoded(self.parts(), SHAPE, key, cache, memory)
        for name, images in IMAGES.items():
            np.testing.assert_array_equal(getattr(raw, f"{name}_images").numpy(), images)
            assert getattr(raw, f"{name}_labels").tolist() == list(range(len(images)))
        return raw


@pytest.mark.parametrize("memory", [0, 1e9])
def test_images_are_decoded_once(memory: float, tmp_path: Path) -> None:
    decoder = Decoder()
    kept, found = (decoder.load(tmp_path, memory).fingerprint for _ in range(2))
    assert decoder.decoded == list(IMAGES)
    assert kept == found == Decoder().load(None).fingerprint


def test_another_key_is_another_entry(tmp_path: Path) -> None:
    decoder = Decoder()
    decoder.load(tmp_path)
    decoder.load(tmp_path, key="b")
    assert decoder.decoded == [*IMAGES, *IMAGES]


def flip_a_bit(entry: Path) -> None:
    content = bytearray((entry / "test.npy").read_bytes())
    content[-1] ^= 1
    (entry / "test.npy").write_bytes(content)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "flipped bit": flip_a_bit,
    "cut": lambda entry: (entry / "train.npy").write_bytes(b"\x93NUMPY"),
    "missing": lambda entry: (entry / "validation.npy").unlink(),
    "note": lambda entry: (entry / "images.json").write_text("{"),
    "other note": lambda entry: (entry / "images.json").write_text("[]"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_repaired(
    damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    decoder = Decoder()
    decoder.load(tmp_path)
    DAMAGE[damage](tmp_path / "images-a")
    decoder.load(tmp_path)
    assert decoder.decoded == [*IMAGES, *IMAGES]
    assert str(tmp_path / "images-a") in capsys.readouterr().err
    decoder.load(tmp_path)
    assert decoder.decoded == [*IMAGES, *IMAGES]


def test_an_entry_that_was_cut_off_is_made_again(tmp_path: Path) -> None:
    def stop() -> Iterator[np.ndarray]:
        yield IMAGES["train"][:2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_decoded({"train": Part(torch.arange(5), stop)}, SHAPE, "a", tmp_path, 0)
    Decoder().load(tmp_path)


def test_too_large_images_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**20))
    decoder = Decoder()
    with pytest.raises(ConfigError) as caught:
        decoder.load(tmp_path)
    assert caught.value.key == "outputs"
    assert decoder.decoded == []
