"""A user's own PNGs, by class, converted to the data set's shape."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from unlearn.data import image_folder
from unlearn.errors import ConfigError

_GENERATOR = np.random.default_rng(2)
GREY = _GENERATOR.integers(0, 256, (8, 6), dtype=np.uint8)
COLOUR = _GENERATOR.integers(0, 256, (8, 6, 3), dtype=np.uint8)


def write(root: Path, images: dict[str, np.ndarray]) -> Path:
    """PNG files at their paths below a folder; three dimensions are colour, two grey."""
    for path, pixels in images.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)
    return root


def write_plain(root: Path) -> Path:
    """Two classes, two training images and one test image each, all 8 x 6."""
    return write(
        root,
        {
            "train/cat/1.png": COLOUR,
            "train/cat/2.png": GREY,
            "train/dog/1.png": 255 - COLOUR,
            "train/dog/2.png": 255 - GREY,
            "test/cat/1.png": COLOUR[::-1],
            "test/dog/1.png": GREY[::-1],
        },
    )


def refusal(root: Path, num_classes: int = 2) -> ConfigError:
    """The error that the loader refuses a folder with."""
    with pytest.raises(ConfigError) as caught:
        image_folder.load(str(root), (3, 8, 6), num_classes)
    assert "\n" not in str(caught.value)
    return caught.value


def test_images_of_the_right_shape_are_kept_to_the_byte(tmp_path: Path) -> None:
    raw = image_folder.load(str(write_plain(tmp_path)), (3, 8, 6), 2)
    thrice = np.stack([GREY] * 3, axis=2)
    expected = np.stack([COLOUR, thrice, 255 - COLOUR, 255 - thrice]).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(raw.train_images.numpy(), expected)
    expected = np.stack([COLOUR[::-1], thrice[::-1]]).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(raw.test_images.numpy(), expected)
    assert raw.train_images.dtype == raw.test_images.dtype == torch.uint8
    assert raw.train_labels.dtype == raw.test_labels.dtype == torch.int64
    assert raw.train_labels.tolist() == [0, 0, 1, 1]
    assert raw.test_labels.tolist() == [0, 1]


def test_colour_becomes_luma_where_one_channel_is_asked_for(tmp_path: Path) -> None:
    raw = image_folder.load(str(write_plain(tmp_path)), (1, 8, 6), 2)
    red, green, blue = (COLOUR[..., c].astype(np.int64) for c in range(3))
    luma = (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16
    assert raw.train_images.shape == (4, 1, 8, 6)
    np.testing.assert_array_equal(raw.train_images[0, 0].numpy(), luma)
    np.testing.assert_array_equal(raw.train_images[1, 0].numpy(), GREY)


def test_alpha_is_dropped(tmp_path: Path) -> None:
    alpha = np.full((8, 6, 1), 255, dtype=np.uint8)
    write_plain(tmp_path)
    write(tmp_path, {"test/cat/1.png": np.concatenate([COLOUR, alpha], axis=2)})
    raw = image_folder.load(str(tmp_path), (3, 8, 6), 2)
    np.testing.assert_array_equal(raw.test_images[0].numpy(), COLOUR.transpose(2, 0, 1))


@pytest.mark.parametrize("channels", [1, 3])
def test_other_sizes_are_resized_with_antialiasing(channels: int, tmp_path: Path) -> None:
    halves = np.zeros((16, 16), dtype=np.uint8)
    halves[:, 8:] = 200
    write(
        tmp_path,
        {
            "train/a/large.png": halves,
            "train/a/small.png": np.full((3, 5), 77, dtype=np.uint8),
            "train/b/colour.png": np.full((11, 40, 3), 90, dtype=np.uint8),
            "test/a/turned.png": np.ascontiguousarray(np.stack([halves.T] * 3, axis=2)),
            "test/b/same.png": np.full((8, 8), 5, dtype=np.uint8),
        },
    )
    raw = image_folder.load(str(tmp_path), (channels, 8, 8), 2)
    assert raw.train_images.shape == (3, channels, 8, 8)
    # A triangle as wide as four pixels weighs them 1, 3, 3, 1: an eighth of 200 leaks over.
    edge = torch.tensor([0, 0, 0, 25, 175, 200, 200, 200], dtype=torch.uint8)
    assert torch.equal(raw.train_images[0], edge.expand(channels, 8, 8))
    assert torch.equal(raw.test_images[0], edge[:, None].expand(channels, 8, 8))
    assert raw.train_images[1].unique().tolist() == [77]
    assert raw.train_images[2].unique().tolist() == [90]
    assert raw.train_labels.tolist() == [0, 0, 1]


def test_grey_of_sixteen_bits_keeps_its_upper_eight(tmp_path: Path) -> None:
    deep = (GREY.astype(np.uint16) << 8) + 113
    names = [f"{part}/{name}/1.png" for part in ("train", "test") for name in "ab"]
    raw = image_folder.load(str(write(tmp_path, dict.fromkeys(names, deep))), (1, 8, 6), 2)
    np.testing.assert_array_equal(raw.train_images[0, 0].numpy(), GREY)


def test_height_comes_before_width(tmp_path: Path) -> None:
    raw = image_folder.load(str(write_plain(tmp_path)), (3, 4, 10), 2)
    assert raw.train_images.shape == (4, 3, 4, 10)


def test_classes_are_numbered_alphabetically_and_other_files_passed_over(tmp_path: Path) -> None:
    names = ["zebra", "Apple", "ant", "10", "9"]
    for part in ("train", "test"):
        write(
            tmp_path,
            {f"{part}/{n}/x.png": np.full((8, 6), i, np.uint8) for i, n in enumerate(names)},
        )
    (tmp_path / "train/zebra/notes.txt").write_text("not an image")
    raw = image_folder.load(str(tmp_path), (1, 8, 6), 5)
    assert raw.train_labels.tolist() == [0, 1, 2, 3, 4]
    assert raw.train_images[:, 0, 0, 0].tolist() == [names.index(n) for n in sorted(names)]


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_plain(tmp_path / "own")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(image_folder.load("~/own", (3, 8, 6), 2).train_labels) == 4


@pytest.mark.parametrize("part", ["train", "test"])
def test_missing_split(part: str, tmp_path: Path) -> None:
    write_plain(tmp_path)
    (tmp_path / part).rename(tmp_path / "elsewhere")
    error = refusal(tmp_path)
    assert error.key == "dataset.root"
    assert str(error).startswith(f"dataset.root={tmp_path}: {tmp_path / part} must hold")


def test_folder_without_classes_and_class_without_images(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    assert str(tmp_path / "train") in str(refusal(tmp_path))
    write_plain(tmp_path)
    (tmp_path / "train/empty").mkdir()
    error = refusal(tmp_path, 3)
    assert error.key == "dataset.root"
    assert "empty" in str(error)


def test_splits_that_name_other_classes(tmp_path: Path) -> None:
    write_plain(tmp_path)
    (tmp_path / "test/dog").rename(tmp_path / "test/wolf")
    error = refusal(tmp_path)
    assert str(error) == f"dataset.root={tmp_path}: train/ and test/ must hold the same classes"


def test_another_number_of_classes(tmp_path: Path) -> None:
    error = refusal(write_plain(tmp_path), 3)
    assert error.key == "dataset.num_classes"
    assert str(error).startswith(f"dataset.num_classes=3: {tmp_path} holds 2 class folders")


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda packed: b"",
    "not an image": lambda packed: b"<html>404 Not Found</html>",
    "header alone": lambda packed: packed[:30],
    "half": lambda packed: packed[: len(packed) // 2],
    "flipped bits": lambda packed: (
        packed[:60] + bytes(b ^ 255 for b in packed[60:80]) + packed[80:]
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("path", ["train/dog/1.png", "test/cat/1.png"])
def test_damaged_image_is_named(damage: str, path: str, tmp_path: Path) -> None:
    file = write_plain(tmp_path) / path
    file.write_bytes(DAMAGE[damage](file.read_bytes()))
    error = refusal(tmp_path)
    assert error.key == "dataset.root"
    assert str(error).startswith(f"dataset.root={tmp_path}: {file} is not a readable image (")
