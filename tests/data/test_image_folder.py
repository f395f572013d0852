"""A user's own PNGs, by class, converted to the data set's shape."""

import os
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


RGB = Image.fromarray(COLOUR)
DEEP = GREY.astype(np.uint16) * 256 + 113
CONVERTED: dict[str, tuple[str, Image.Image, np.ndarray]] = {
    "transparent": ("png", RGB.convert("RGBA"), COLOUR),
    "grey with transparency": ("png", Image.fromarray(GREY).convert("LA"), GREY),
    "palette": ("png", Image.fromarray(GREY).convert("P"), GREY),
    "palette with transparency": ("gif", Image.fromarray(GREY // 128).convert("P"), GREY // 128),
    "black and white": ("png", Image.fromarray(GREY > 127), np.uint8(255) * (GREY > 127)),
    "16 bits": ("png", Image.fromarray(DEEP), GREY),
    "16 bits, TIFF": ("tif", Image.fromarray(DEEP), GREY),
    "32 bits that hold 16": ("tif", Image.fromarray(DEEP.astype(np.int32)), GREY),
    "bitmap": ("BMP", RGB, COLOUR),
    "lossless WebP": ("webp", RGB, COLOUR),
    "print colours": ("tif", Image.fromarray(GREY).convert("CMYK"), GREY),
}


@pytest.mark.parametrize("kind", CONVERTED)
def test_modes_and_formats_are_converted_to_bytes(kind: str, tmp_path: Path) -> None:
    ending, image, pixels = CONVERTED[kind]
    write_plain(tmp_path)
    options = {"lossless": True} if ending == "webp" else {}
    options |= {"transparency": 0} if ending == "gif" else {}
    image.save(tmp_path / f"test/cat/0.{ending}", **options)
    raw = image_folder.load(str(tmp_path), (3, 8, 6), 2)
    expected = pixels if pixels.ndim == 3 else np.stack([pixels] * 3, axis=2)
    np.testing.assert_array_equal(raw.test_images[0].numpy(), expected.transpose(2, 0, 1))


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 6\n%%EOF\n"
FRACTIONS = Image.fromarray(GREY.astype(np.float32) / 255)
UNREADABLE: dict[str, Callable[[Path], object]] = {
    "a program for a printer": lambda file: file.write_bytes(POSTSCRIPT),
    "fractions": lambda file: FRACTIONS.save(file, format="TIFF"),
    "32 bits": lambda file: Image.fromarray(DEEP.astype(np.int32) * 9).save(file, format="TIFF"),
    "170 million pixels": lambda file: Image.new("1", (17000, 10000)).save(file),
    "more than Pillow opens": lambda file: Image.new("1", (20000, 10000)).save(file),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_undecodable_images_are_named(kind: str, tmp_path: Path) -> None:
    file = write_plain(tmp_path) / "train/dog/1.png"
    UNREADABLE[kind](file)
    assert str(refusal(tmp_path)).startswith(f"dataset.root={tmp_path}: {file} is not a readable")


def test_a_changed_file_is_decoded_again(tmp_path: Path) -> None:
    root, cache = write_plain(tmp_path / "own"), tmp_path / "cache"

    def load() -> np.ndarray:
        return image_folder.load(str(root), (3, 8, 6), 2, cache, 0).test_images.numpy()

    before = load()
    file = root / "test/cat/1.png"
    damaged = file.read_bytes()[:60]
    about = file.stat()
    file.write_bytes(damaged.ljust(about.st_size, b"\0"))
    os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns))
    np.testing.assert_array_equal(load(), before)  # neither size nor time differs: not read again
    write(root, {"test/cat/1.png": 255 - COLOUR})
    os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns + 1))
    np.testing.assert_array_equal(load()[0], 255 - COLOUR.transpose(2, 0, 1))
    np.testing.assert_array_equal(load()[1:], before[1:])


def test_many_images_come_in_order(tmp_path: Path) -> None:
    count = 300
    for part in ("train", "test"):
        images = {
            f"{part}/{'ab'[i % 2]}/{i:03}.png": np.full((2, 2), i % 256, dtype=np.uint8)
            for i in range(count)
        }
        write(tmp_path, images)
    raw = image_folder.load(str(tmp_path), (1, 2, 2), 2, tmp_path / "cache")
    expected = [i % 256 for i in (*range(0, count, 2), *range(1, count, 2))]
    assert raw.train_images[:, 0, 1, 1].tolist() == expected
    assert raw.train_labels.tolist() == [0] * 150 + [1] * 150


def test_height_comes_before_width(tmp_path: Path) -> None:
    raw = image_folder.load(str(write_plain(tmp_path)), (3, 4, 10), 2)
    assert raw.train_images.shape == (4, 3, 4, 10)


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
