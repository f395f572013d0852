"""MNIST and Fashion-MNIST from real idx files: flat and gzipped, or as torchvision lays them."""

import gzip
import os
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.refusals import refusal
from unlearn.data.mnist import load_fashion_mnist, load_mnist
from unlearn.data.source import RawImages

Loader = Callable[[str, bool], RawImages]
_GENERATOR = np.random.default_rng(11)
ARRAYS = {
    "train-images-idx3-ubyte": _GENERATOR.integers(0, 256, (7, 28, 28), dtype=np.uint8),
    "train-labels-idx1-ubyte": np.array([5, 0, 4, 1, 9, 2, 1], dtype=np.uint8),
    "t10k-images-idx3-ubyte": _GENERATOR.integers(0, 256, (3, 28, 28), dtype=np.uint8),
    "t10k-labels-idx1-ubyte": np.array([7, 2, 0], dtype=np.uint8),
}
LOADERS = [(load_mnist, "MNIST", "mnist"), (load_fashion_mnist, "FashionMNIST", "fashion_mnist")]


def idx(values: np.ndarray) -> bytes:
    """An idx file of unsigned bytes: two zeros, type 8, dimensions, sizes, values."""
    head = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    return head + values.tobytes()


def write_flat(folder: Path) -> Path:
    """Four .gz files side by side, as a Debian package installs them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in ARRAYS.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(idx(values)))
    return folder


def write_raw(root: Path, kind: str) -> Path:
    """Four unpacked files in the folder where torchvision keeps them."""
    folder = root / kind / "raw"
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in ARRAYS.items():
        (folder / name).write_bytes(idx(values))
    return folder


def assert_is_what_was_written(raw: RawImages) -> None:
    for part, file in (("train", "train"), ("test", "t10k")):
        images, labels = getattr(raw, f"{part}_images"), getattr(raw, f"{part}_labels")
        assert images.dtype == torch.uint8
        assert labels.dtype == torch.int64
        np.testing.assert_array_equal(images.numpy(), ARRAYS[f"{file}-images-idx3-ubyte"][:, None])
        np.testing.assert_array_equal(labels.numpy(), ARRAYS[f"{file}-labels-idx1-ubyte"])


@pytest.mark.parametrize(("load", "kind", "name"), LOADERS)
def test_both_layouts_are_read(load: Loader, kind: str, name: str, tmp_path: Path) -> None:
    assert_is_what_was_written(load(str(write_flat(tmp_path / "flat")), False))
    write_raw(tmp_path, kind)
    assert_is_what_was_written(load(str(tmp_path), False))


def test_mnist_is_not_read_as_fashion_mnist(tmp_path: Path) -> None:
    write_raw(tmp_path, "MNIST")
    refusal(load_fashion_mnist, "fashion_mnist", tmp_path)


def test_home_and_relative_roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_flat(tmp_path / "flat")
    write_raw(tmp_path / "laid", "MNIST")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert_is_what_was_written(load_mnist("~/flat", False))
    assert_is_what_was_written(load_mnist("~/laid", False))
    refusal(load_mnist, "mnist", "~/nowhere", tmp_path / "nowhere")
    monkeypatch.chdir(tmp_path)
    assert_is_what_was_written(load_mnist("flat", False))
    refusal(load_mnist, "mnist", "nowhere", tmp_path / "nowhere")


@pytest.mark.parametrize(("load", "kind", "name"), LOADERS)
@pytest.mark.parametrize("file", ARRAYS)
def test_missing_file(load: Loader, kind: str, name: str, file: str, tmp_path: Path) -> None:
    flat, laid = write_flat(tmp_path / "flat"), tmp_path / "laid"
    (flat / f"{file}.gz").unlink()
    message = refusal(load, name, flat)
    assert f"{file}.gz" in message or file == "train-images-idx3-ubyte"
    (write_raw(laid, kind) / file).unlink()
    refusal(load, name, laid)


def wrong_check_sum(packed: bytes) -> bytes:
    return packed[:-8] + bytes(b ^ 255 for b in packed[-8:-4]) + packed[-4:]


GZIP_DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda packed: b"",
    "five bytes": lambda packed: packed[:5],
    "half": lambda packed: packed[: len(packed) // 2],
    "no gzip": lambda packed: b"<html>404 Not Found</html>",
    "wrong check sum": wrong_check_sum,
    "no such deflate block": lambda packed: packed[:10] + b"\x07" + packed[11:],
    "gzipped text": lambda packed: gzip.compress(b"label\n7\n2\n"),
    "gzipped nothing": lambda packed: gzip.compress(b""),
}


@pytest.mark.parametrize("damage", GZIP_DAMAGE)
@pytest.mark.parametrize("file", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_damaged_gzip(damage: str, file: str, tmp_path: Path) -> None:
    path = write_flat(tmp_path) / f"{file}.gz"
    path.write_bytes(GZIP_DAMAGE[damage](path.read_bytes()))
    refusal(load_fashion_mnist, "fashion_mnist", tmp_path)


IDX_DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "three bytes": lambda content: content[:3],
    "six bytes": lambda content: content[:6],
    "header alone": lambda content: content[: 4 + 4 * content[3]],
    "one byte short": lambda content: content[:-1],
    "one byte long": lambda content: content + b"\0",
    "not idx": lambda content: b"not an idx file at all",
    "no dimension": lambda content: bytes([0, 0, 8, 0, 1]),
    "two hundred dimensions": lambda content: content[:3] + bytes([200]) + content[4:],
    "floats": lambda content: content[:2] + bytes([13]) + content[3:],
    "unknown type": lambda content: content[:2] + bytes([10]) + content[3:],
    "no row": lambda content: content[:4] + bytes(4) + content[8 : 4 + 4 * content[3]],
}


def refuse_both(file: str, content: bytes, folder: Path) -> None:
    """Check that a file's content is refused in both layouts."""
    flat, laid = write_flat(folder / "flat"), folder / "laid"
    (flat / f"{file}.gz").write_bytes(gzip.compress(content))
    refusal(load_mnist, "mnist", flat)
    (write_raw(laid, "MNIST") / file).write_bytes(content)
    refusal(load_mnist, "mnist", laid)


@pytest.mark.parametrize("damage", IDX_DAMAGE)
@pytest.mark.parametrize("file", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_damaged_idx(damage: str, file: str, tmp_path: Path) -> None:
    refuse_both(file, IDX_DAMAGE[damage](idx(ARRAYS[file])), tmp_path)


@pytest.mark.parametrize(
    ("file", "values"),
    [
        ("train-labels-idx1-ubyte", ARRAYS["train-labels-idx1-ubyte"][:5]),
        ("t10k-images-idx3-ubyte", ARRAYS["train-images-idx3-ubyte"]),
        ("train-images-idx3-ubyte", ARRAYS["train-labels-idx1-ubyte"]),
        ("t10k-labels-idx1-ubyte", ARRAYS["t10k-images-idx3-ubyte"]),
    ],
    ids=["too few labels", "too many images", "labels as images", "images as labels"],
)
def test_files_that_do_not_go_together(file: str, values: np.ndarray, tmp_path: Path) -> None:
    refuse_both(file, idx(values), tmp_path)


def test_download_passes_over_a_damaged_flat_folder(tmp_path: Path) -> None:
    write_raw(tmp_path, "MNIST")
    (write_flat(tmp_path) / "train-labels-idx1-ubyte.gz").write_bytes(b"")
    refusal(load_mnist, "mnist", tmp_path)
    assert_is_what_was_written(load_mnist(str(tmp_path), True))


@pytest.mark.parametrize("name", list(ARRAYS))
def test_a_file_that_unpacks_without_end_is_refused(name: str, tmp_path: Path) -> None:
    """100 MB of zeros in 100 kB, behind a header that says seven bytes, or a terabyte."""
    folder, largest = write_flat(tmp_path / "flat"), 64 * 2**20
    for shape in ((7,), (2**20, 2**10, 2**10)):
        head = bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
        (folder / f"{name}.gz").write_bytes(gzip.compress(head + bytes(100 * 2**20)))
        tracemalloc.start()
        assert f"{name}.gz" in refusal(load_mnist, "mnist", folder)
        assert tracemalloc.get_traced_memory()[1] < largest
        tracemalloc.stop()


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    folder = write_flat(tmp_path / "flat")
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    os.mkfifo(folder / "t10k-labels-idx1-ubyte.gz")
    assert "no regular file" in refusal(load_mnist, "mnist", folder)
