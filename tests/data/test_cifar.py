"""CIFAR-10 and CIFAR-100 from real pickled batches."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers.refusals import refusal
from unlearn.data.cifar import load_cifar10, load_cifar100

_GENERATOR = np.random.default_rng(8)
BATCHES = [f"data_batch_{i}" for i in range(1, 6)]
PIXELS = {
    name: _GENERATOR.integers(0, 256, (rows, 3072), dtype=np.uint8)
    for name, rows in [
        *((name, 3) for name in BATCHES),
        ("test_batch", 4),
        ("train", 6),
        ("test", 4),
    ]
}
LABELS = {
    **{name: [i, 9 - i, 5] for i, name in enumerate(BATCHES)},
    "test_batch": [3, 8, 8, 0],
    "train": [99, 0, 41, 7, 55, 12],
    "test": [49, 33, 72, 99],
}


def batch10(name: str) -> dict[str, Any]:
    """A batch as published: one row an image, red, green, then blue, each row by row."""
    names = [f"{name}_{i}.png" for i in range(len(LABELS[name]))]
    return {"batch_label": name, "labels": LABELS[name], "data": PIXELS[name], "filenames": names}


def batch100(name: str) -> dict[str, Any]:
    """A CIFAR-100 file as published; its coarse labels must not be mistaken for the fine ones."""
    coarse = [label // 5 for label in LABELS[name]]
    return {"fine_labels": LABELS[name], "coarse_labels": coarse, "data": PIXELS[name]}


def write10(root: Path) -> Path:
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name in [*BATCHES, "test_batch"]:
        (folder / name).write_bytes(pickle.dumps(batch10(name), protocol=2))
    meta = {"label_names": [f"name {i}" for i in range(10)], "num_vis": 3072}
    (folder / "batches.meta").write_bytes(pickle.dumps(meta, protocol=2))
    return folder


def write100(root: Path) -> Path:
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    for name in ("train", "test"):
        (folder / name).write_bytes(pickle.dumps(batch100(name), protocol=2))
    meta = {"fine_label_names": [f"name {i}" for i in range(100)], "coarse_label_names": ["a"] * 20}
    (folder / "meta").write_bytes(pickle.dumps(meta, protocol=2))
    return folder


def assert_is(images: torch.Tensor, labels: torch.Tensor, names: list[str]) -> None:
    """The images are those of the named batches, one after the other."""
    rows = np.concatenate([PIXELS[name] for name in names])
    assert images.dtype == torch.uint8
    assert labels.dtype == torch.int64
    assert images.is_contiguous()
    assert images.shape == (len(rows), 3, 32, 32)
    assert labels.tolist() == [label for name in names for label in LABELS[name]]
    for channel in range(3):
        for y in range(32):
            start = channel * 1024 + y * 32
            np.testing.assert_array_equal(
                images[:, channel, y].numpy(), rows[:, start : start + 32]
            )


@pytest.mark.usefixtures("any_file")
@pytest.mark.parametrize(
    ("write", "load", "train", "test"),
    [(write10, load_cifar10, BATCHES, "test_batch"), (write100, load_cifar100, ["train"], "test")],
)
def test_images_are_what_was_written(
    tmp_path: Path, write: Any, load: Any, train: list[str], test: str
) -> None:
    write(tmp_path)
    raw = load(str(tmp_path), False)
    assert_is(raw.train_images, raw.train_labels, train)
    assert_is(raw.test_images, raw.test_labels, [test])


@pytest.mark.usefixtures("any_file")
def test_cifar10_is_not_read_as_cifar100(tmp_path: Path) -> None:
    write10(tmp_path)
    refusal(load_cifar100, "cifar100", tmp_path)


@pytest.mark.usefixtures("any_file")
@pytest.mark.parametrize("name", ["data_batch_1", "data_batch_5", "test_batch", "batches.meta"])
def test_missing_file(name: str, tmp_path: Path) -> None:
    folder = write10(tmp_path)
    (folder / name).unlink()
    refusal(load_cifar10, "cifar10", tmp_path)


def test_missing_folder(tmp_path: Path) -> None:
    refusal(load_cifar10, "cifar10", tmp_path / "nowhere")
    refusal(load_cifar100, "cifar100", tmp_path / "nowhere")


def test_files_that_are_not_the_published_ones(tmp_path: Path) -> None:
    write10(tmp_path)
    write100(tmp_path)
    assert "corrupted" in refusal(load_cifar10, "cifar10", tmp_path)
    assert "corrupted" in refusal(load_cifar100, "cifar100", tmp_path)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda packed: b"",
    "half": lambda packed: packed[: len(packed) // 2],
    "not a pickle": lambda packed: b"<html>404 Not Found</html>",
    "unknown protocol": lambda packed: b"\x80\x09" + packed[2:],
    "unknown module": lambda packed: b"cnosuchmodule\nThing\n.",
    "unknown class": lambda packed: b"cos\nNoSuchThing\n.",
    "a list": lambda packed: pickle.dumps([1, 2]),
    "no such key": lambda packed: pickle.dumps({"images": 1}),
}


@pytest.mark.usefixtures("any_file")
@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize(
    ("name", "hundred"),
    [
        *((name, False) for name in ("data_batch_3", "test_batch", "batches.meta")),
        *((name, True) for name in ("train", "test", "meta")),
    ],
)
def test_damaged_file(damage: str, name: str, hundred: bool, tmp_path: Path) -> None:
    load, kind = (load_cifar100, "cifar100") if hundred else (load_cifar10, "cifar10")
    path = (write100 if hundred else write10)(tmp_path) / name
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    refusal(load, kind, tmp_path)


@pytest.mark.usefixtures("any_file")
@pytest.mark.parametrize(
    "batch",
    [
        {**batch10("test_batch"), "labels": [3, 8, 8]},
        {**batch10("test_batch"), "data": PIXELS["test_batch"][:, :100]},
        {**batch10("test_batch"), "labels": ["cat", "dog", "dog", "ship"]},
    ],
    ids=["a label short", "rows too short", "labels are words"],
)
def test_batch_that_does_not_fit(batch: dict[str, Any], tmp_path: Path) -> None:
    folder = write10(tmp_path)
    (folder / "test_batch").write_bytes(pickle.dumps(batch))
    refusal(load_cifar10, "cifar10", tmp_path)
