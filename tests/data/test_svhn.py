"""SVHN from real MATLAB files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.io import savemat

from tests.helpers.refusals import refusal
from unlearn.data import svhn

_GENERATOR = np.random.default_rng(5)
IMAGES = {
    "train": _GENERATOR.integers(0, 256, (32, 32, 3, 12), dtype=np.uint8),
    "test": _GENERATOR.integers(0, 256, (32, 32, 3, 4), dtype=np.uint8),
}
LABELS = {"train": [10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1], "test": [9, 10, 1, 5]}


def content(part: str) -> dict[str, Any]:
    """The two variables of a file: X (32, 32, 3, N), and y (N, 1) from 1 to 10."""
    return {"X": IMAGES[part], "y": np.array(LABELS[part], dtype=np.uint8)[:, None]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with both files as published: MATLAB 5, compressed."""
    for part in ("train", "test"):
        savemat(tmp_path / f"{part}_32x32.mat", content(part), do_compression=True)
    return tmp_path


@pytest.mark.usefixtures("any_file")
def test_images_and_labels_are_what_was_written(folder: Path) -> None:
    raw = svhn.load(str(folder), False)
    for part, images, labels in (
        ("train", raw.train_images, raw.train_labels),
        ("test", raw.test_images, raw.test_labels),
    ):
        assert images.dtype == torch.uint8
        assert labels.dtype == torch.int64
        assert images.is_contiguous()
        assert images.shape == (len(LABELS[part]), 3, 32, 32)
        for row in range(len(LABELS[part])):
            for channel in range(3):
                written = IMAGES[part][:, :, channel, row]
                np.testing.assert_array_equal(images[row, channel].numpy(), written)
    assert raw.train_labels.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert raw.test_labels.tolist() == [9, 0, 1, 5]


@pytest.mark.usefixtures("any_file")
@pytest.mark.parametrize("part", ["train", "test"])
def test_missing_file(part: str, folder: Path) -> None:
    (folder / f"{part}_32x32.mat").unlink()
    refusal(svhn.load, "svhn", folder)


def test_missing_folder(tmp_path: Path) -> None:
    refusal(svhn.load, "svhn", tmp_path / "nowhere")


def test_file_that_is_not_the_published_one(folder: Path) -> None:
    assert "corrupted" in refusal(svhn.load, "svhn", folder)


def flipped(packed: bytes) -> bytes:
    return packed[:400] + bytes(b ^ 255 for b in packed[400:500]) + packed[500:]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda packed: b"",
    "half a header": lambda packed: packed[:100],
    "header alone": lambda packed: packed[:128],
    "a few bytes more": lambda packed: packed[:140],
    "half": lambda packed: packed[: len(packed) // 2],
    "flipped bits": flipped,
    "not matlab": lambda packed: b"<html>404 Not Found</html>" * 30,
}


@pytest.mark.usefixtures("any_file")
@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("part", ["train", "test"])
def test_damaged_file(damage: str, part: str, folder: Path) -> None:
    path = folder / f"{part}_32x32.mat"
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    refusal(svhn.load, "svhn", folder)


@pytest.mark.usefixtures("any_file")
@pytest.mark.parametrize(
    "variables",
    [
        {"X": IMAGES["test"]},
        {"y": np.ones((4, 1), dtype=np.uint8)},
        {"X": IMAGES["test"], "y": np.ones((3, 1), dtype=np.uint8)},
        {"X": np.zeros((32, 32), dtype=np.uint8), "y": np.ones((32, 1), dtype=np.uint8)},
    ],
    ids=["no labels", "no images", "a label short", "images of two dimensions"],
)
def test_other_variables(variables: dict[str, Any], folder: Path) -> None:
    savemat(folder / "test_32x32.mat", variables)
    refusal(svhn.load, "svhn", folder)
