"""Every loader on small files written in the real on-disk format, whole and damaged."""

from __future__ import annotations

import gzip
import hashlib
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision import datasets

from unlearn.data import cifar, digits, image_folder, mnist, svhn
from unlearn.errors import ConfigError

Bytes = NDArray[np.uint8]
RANDOM = np.random.default_rng(0)


def pixels(*shape: int) -> Bytes:
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


def write_idx(path: Path, values: Bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
    content = header + values.tobytes()
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(content))
    else:
        path.write_bytes(content)


def write_mnist(folder: Path, suffix: str) -> dict[str, Bytes]:
    written = {
        "train-images-idx3-ubyte": pixels(12, 28, 28),
        "train-labels-idx1-ubyte": np.arange(12, dtype=np.uint8) % 10,
        "t10k-images-idx3-ubyte": pixels(5, 28, 28),
        "t10k-labels-idx1-ubyte": np.arange(5, dtype=np.uint8),
    }
    for name, values in written.items():
        write_idx(folder / f"{name}{suffix}", values)
    return written


@pytest.mark.parametrize(
    ("load", "place", "suffix"),
    [
        (mnist.load_fashion_mnist, "", ".gz"),
        (mnist.load_mnist, "", ".gz"),
        (mnist.load_mnist, "MNIST/raw", ""),
        (mnist.load_fashion_mnist, "FashionMNIST/raw", ""),
    ],
)
def test_idx_files_flat_and_as_torchvision_lays_them(
    tmp_path: Path, load: Any, place: str, suffix: str
) -> None:
    written = write_mnist(tmp_path / place, suffix)
    raw = load(str(tmp_path), download=False)
    assert raw.train_images.dtype == torch.uint8
    assert raw.train_labels.dtype == torch.int64
    np.testing.assert_array_equal(raw.train_images[:, 0], written["train-images-idx3-ubyte"])
    np.testing.assert_array_equal(raw.test_images[:, 0], written["t10k-images-idx3-ubyte"])
    assert raw.train_labels.tolist() == [i % 10 for i in range(12)]
    assert raw.test_labels.tolist() == [0, 1, 2, 3, 4]


def complaint(load: Any, root: Path, download: bool = False) -> str:
    with pytest.raises(ConfigError) as error:
        load(str(root), download=download)
    line = str(error.value)
    assert "\n" not in line
    assert line.startswith(f"dataset.root={root}")
    assert str(root) in line.split(": ", 1)[1]
    return line


@pytest.mark.parametrize("damage", ["truncated gzip", "truncated idx", "no idx", "gone", "no gzip"])
def test_damaged_idx_files(tmp_path: Path, damage: str) -> None:
    write_mnist(tmp_path, ".gz")
    victim = tmp_path / "t10k-images-idx3-ubyte.gz"
    whole = victim.read_bytes()
    if damage == "truncated gzip":
        victim.write_bytes(whole[: len(whole) // 2])
    elif damage == "truncated idx":
        victim.write_bytes(gzip.compress(gzip.decompress(whole)[:-7]))
    elif damage == "no idx":
        victim.write_bytes(gzip.compress(b"not an idx file at all"))
    elif damage == "no gzip":
        victim.write_bytes(b"plain")
    else:
        victim.unlink()
    assert "dataset.download=true" in complaint(mnist.load_fashion_mnist, tmp_path)


def write_svhn(folder: Path) -> dict[str, Bytes]:
    written = {}
    for part, count in (("train", 11), ("test", 4)):
        images = pixels(32, 32, 3, count)
        labels = (np.arange(count) % 10 + 1).astype(np.uint8)[:, None]
        scipy.io.savemat(folder / f"{part}_32x32.mat", {"X": images, "y": labels})
        written[part] = images
    return written


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.fixture
def svhn_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Bytes]:
    """Real .mat files; torchvision knows the sums of the published ones, so it is told these."""
    written = write_svhn(tmp_path)
    known = {
        part: [url, name, md5(tmp_path / name) if part != "extra" else old]
        for part, (url, name, old) in datasets.SVHN.split_list.items()
    }
    monkeypatch.setattr(datasets.SVHN, "split_list", known)
    return written


def test_svhn_mat_files_with_ten_for_zero(tmp_path: Path, svhn_files: dict[str, Bytes]) -> None:
    raw = svhn.load(str(tmp_path), download=False)
    assert raw.train_images.shape == (11, 3, 32, 32)
    np.testing.assert_array_equal(raw.train_images[7, 2], svhn_files["train"][:, :, 2, 7])
    assert raw.train_labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]


def test_damaged_svhn(tmp_path: Path, svhn_files: dict[str, Bytes]) -> None:
    (tmp_path / "test_32x32.mat").write_bytes(b"short")
    assert "dataset.download=true" in complaint(svhn.load, tmp_path)


def write_cifar(root: Path, fine: bool, monkeypatch: pytest.MonkeyPatch) -> Bytes:
    """Batches pickled as published, whose sums torchvision is then told."""
    kind = datasets.CIFAR100 if fine else datasets.CIFAR10
    folder = root / kind.base_folder
    folder.mkdir()
    images = pixels(4, 3072)
    labels = [3, 1, 0, 2]
    for name, _ in [*kind.train_list, *kind.test_list]:
        batch = {"data": images, "fine_labels" if fine else "labels": labels}
        (folder / name).write_bytes(pickle.dumps(batch))
    key = kind.meta["key"]
    (folder / kind.meta["filename"]).write_bytes(pickle.dumps({key: list("abcdefghij")}))
    for listing in ("train_list", "test_list"):
        sums = [[name, md5(folder / name)] for name, _ in getattr(kind, listing)]
        monkeypatch.setattr(kind, listing, sums)
    meta = {**kind.meta, "md5": md5(folder / kind.meta["filename"])}
    monkeypatch.setattr(kind, "meta", meta)
    return images


@pytest.mark.parametrize("fine", [False, True])
def test_cifar_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fine: bool) -> None:
    images = write_cifar(tmp_path, fine, monkeypatch)
    load = cifar.load_cifar100 if fine else cifar.load_cifar10
    raw = load(str(tmp_path), download=False)
    assert raw.train_images.shape == (4 if fine else 20, 3, 32, 32)
    np.testing.assert_array_equal(raw.test_images.reshape(4, -1), images)
    assert raw.test_labels.tolist() == [3, 1, 0, 2]


def test_damaged_cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar(tmp_path, False, monkeypatch)
    (tmp_path / "cifar-10-batches-py" / "data_batch_2").write_bytes(b"broken")
    assert "dataset.download=true" in complaint(cifar.load_cifar10, tmp_path)


@pytest.mark.parametrize(
    "load",
    [
        mnist.load_mnist,
        mnist.load_fashion_mnist,
        svhn.load,
        cifar.load_cifar10,
        cifar.load_cifar100,
    ],
)
def test_missing_files_say_where_and_how(tmp_path: Path, load: Any) -> None:
    assert "set dataset.download=true to fetch it" in complaint(load, tmp_path / "nowhere")


def write_folder(root: Path, classes: tuple[str, ...] = ("cat", "dog"), mode: str = "RGB") -> None:
    for part, count in (("train", 3), ("test", 2)):
        for level, name in enumerate(classes):
            place = root / part / name
            place.mkdir(parents=True)
            colour = (50 + 100 * level, 0, 0) if mode == "RGB" else 50 + 100 * level
            for i in range(count):
                Image.new(mode, (20, 14), colour).save(place / f"{i}.png")


def test_a_folder_of_images_is_resized_and_numbered_by_name(tmp_path: Path) -> None:
    write_folder(tmp_path)
    raw = image_folder.load(str(tmp_path), (3, 8, 12), 2)
    assert raw.train_images.shape == (6, 3, 8, 12)
    assert raw.train_images.dtype == torch.uint8
    assert raw.train_labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert (raw.test_images[:2, 0] == 50).all()
    assert (raw.test_images[2:, 0] == 150).all()
    assert (raw.test_images[:, 1:] == 0).all()


def test_colour_and_grey_are_converted_to_the_shape(tmp_path: Path) -> None:
    write_folder(tmp_path / "colour")
    grey = image_folder.load(str(tmp_path / "colour"), (1, 8, 8), 2)
    assert grey.train_images.shape == (6, 1, 8, 8)
    assert grey.train_images[0].unique().tolist() == [15], "0.299 of 50"
    write_folder(tmp_path / "grey", mode="L")
    colour = image_folder.load(str(tmp_path / "grey"), (3, 8, 8), 2)
    assert (colour.train_images[:3] == 50).all()


def test_folders_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"dataset\.root"):
        image_folder.load(str(tmp_path), (3, 8, 8), 2)
    write_folder(tmp_path)
    with pytest.raises(ConfigError, match=r"dataset\.num_classes=5"):
        image_folder.load(str(tmp_path), (3, 8, 8), 5)
    (tmp_path / "train" / "cat" / "0.png").write_bytes(b"no picture")
    with pytest.raises(ConfigError, match=r"dataset\.root"):
        image_folder.load(str(tmp_path), (3, 8, 8), 2)
    (tmp_path / "test" / "dog").rename(tmp_path / "test" / "eel")
    with pytest.raises(ConfigError, match="the same classes"):
        image_folder.load(str(tmp_path), (3, 8, 8), 2)


def test_digits_are_split_once_and_for_all() -> None:
    raw, again = digits.load(0.3), digits.load(0.3)
    assert raw.train_images.shape == (1257, 1, 8, 8)
    assert raw.test_images.shape == (540, 1, 8, 8)
    assert torch.equal(raw.test_images, again.test_images)
    assert raw.train_images.max() == 255
    per_class = torch.bincount(raw.test_labels)
    assert per_class.min() >= 50, "stratified"
