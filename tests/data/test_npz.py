"""Data sets in one .npz file, as MedMNIST writes them."""

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from unlearn.data import npz
from unlearn.data.cifar import load_cifar10
from unlearn.errors import ConfigError

_GENERATOR = np.random.default_rng(6)
GREY, COLOUR = (
    {
        f"{split}_images": _GENERATOR.integers(0, 256, (count, 6, 4, *channels), dtype=np.uint8)
        for split, count in (("train", 5), ("val", 3), ("test", 4))
    }
    for channels in ((), (3,))
)
LABELS = {"train_labels": [0, 1, 2, 1, 0], "val_labels": [2, 2, 0], "test_labels": [1, 0, 2, 2]}
PLAIN = COLOUR | {name: np.array(labels) for name, labels in LABELS.items()}


def write(path: Path, arrays: dict[str, Any], packed: bool = False) -> Path:
    (np.savez_compressed if packed else np.savez)(path, **arrays)
    return path


@pytest.mark.parametrize("memory", [0, 1e9])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("images", "axes"),
    [
        (GREY, None),
        ({name: values[..., None] for name, values in GREY.items()}, (0, 3, 1, 2)),
        (COLOUR, (0, 3, 1, 2)),
    ],
    ids=["HW", "HW1", "HW3"],
)
@pytest.mark.parametrize("as_column", [False, True])
def test_arrays_are_what_was_written(
    images: dict[str, np.ndarray],
    axes: tuple[int, ...] | None,
    as_column: bool,
    packed: bool,
    memory: float,
    tmp_path: Path,
) -> None:
    kind = np.uint8 if packed else np.int64
    labels = {name: np.array(values, dtype=kind) for name, values in LABELS.items()}
    if as_column:
        labels = {name: values[:, None] for name, values in labels.items()}
    file = write(tmp_path / "some.npz", images | labels, packed)
    raw = npz.load(str(file), tmp_path / "cache", memory)
    for ours, split in (("train", "train"), ("validation", "val"), ("test", "test")):
        values = images[f"{split}_images"]
        expected = values[:, None] if axes is None else values.transpose(axes)
        np.testing.assert_array_equal(getattr(raw, f"{ours}_images").numpy(), expected)
        assert getattr(raw, f"{ours}_labels").tolist() == LABELS[f"{split}_labels"]


def test_validation_may_be_left_out(tmp_path: Path) -> None:
    arrays = {name: values for name, values in PLAIN.items() if "val" not in name}
    raw = npz.load(str(write(tmp_path / "some.npz", arrays)))
    assert raw.validation_images is None
    assert len(raw.train_images) == 5


def test_cifar10_takes_such_a_file(tmp_path: Path) -> None:
    raw = load_cifar10(str(write(tmp_path / "some.npz", PLAIN)), False)
    assert torch.equal(raw.test_images, npz.load(str(tmp_path / "some.npz")).test_images)


CHANGES: dict[str, dict[str, Any]] = {
    "no array of labels": {"test_labels": None},
    "no labels of validation": {"val_labels": None},
    "fractions": {"train_images": COLOUR["train_images"] / 255},
    "sixteen bits": {"test_images": COLOUR["test_images"].astype(np.uint16)},
    "four channels": {"train_images": np.zeros((5, 6, 4, 4), dtype=np.uint8)},
    "volumes": {"train_images": np.zeros((5, 6, 4, 4, 3), dtype=np.uint8)},
    "other sizes": {"test_images": np.zeros((4, 4, 6, 3), dtype=np.uint8)},
    "no image": {"test_images": np.zeros((0, 6, 4, 3), dtype=np.uint8)},
    "several labels an image": {"train_labels": np.zeros((5, 2), dtype=np.int64)},
    "labels that are fractions": {"train_labels": np.zeros(5)},
    "labels that are words": {"train_labels": np.array(list("abcde"))},
    "labels that are objects": {"train_labels": np.array([None] * 5)},
    "a label short": {"train_labels": np.zeros(4, dtype=np.int64)},
    "negative": {"test_labels": np.array([0, -1, 0, 0])},
}


@pytest.mark.parametrize("change", CHANGES)
def test_other_arrays_are_refused_by_name(change: str, tmp_path: Path) -> None:
    arrays = {name: v for name, v in (PLAIN | CHANGES[change]).items() if v is not None}
    file = write(tmp_path / "some.npz", arrays)
    for memory in (0, 1e9):
        with pytest.raises(ConfigError) as caught:
            npz.load(str(file), tmp_path / "cache", memory)
        assert caught.value.key == "dataset.root"
        message = str(caught.value)
        assert message.startswith(f"dataset.root={file}: {file} is no readable .npz file")
        assert "\n" not in message


@pytest.mark.parametrize("share", [0, 0.3, 0.7, 0.99])
@pytest.mark.parametrize("packed", [False, True])
def test_a_file_that_is_cut_off_is_refused(share: float, packed: bool, tmp_path: Path) -> None:
    file = write(tmp_path / "some.npz", PLAIN, packed)
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ConfigError):
        npz.load(str(file))


@pytest.mark.parametrize("packed", [False, True])
def test_flipped_bits_are_noticed(packed: bool, tmp_path: Path) -> None:
    file = write(tmp_path / "some.npz", PLAIN, packed)
    content = file.read_bytes()
    file.write_bytes(content[:200] + bytes(b ^ 255 for b in content[200:240]) + content[240:])
    with pytest.raises(ConfigError):
        npz.load(str(file))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere.npz"):
        with pytest.raises(ConfigError):
            npz.load(str(path))


def npy(shape: tuple[int, ...], kind: str, content: bytes = b"") -> bytes:
    """An array's file whose header says a shape and a type."""
    out = io.BytesIO()
    header = {"descr": kind, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(out, header)
    return out.getvalue() + content


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("train_images", npy((10**12, 28, 28), "|u1")),
        ("train_labels", npy((10**12,), "<i8")),
        ("train_labels", npy((5, 1), "<i8", b"x" * 8)),
        ("val_labels", npy((), "<i8", b"x" * 8)),
        ("test_labels", npy((4,), "|O", b"x" * 8)),
    ],
)
def test_sizes_are_checked_before_anything_is_unpacked(
    name: str, content: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "some.npz"
    with zipfile.ZipFile(file, "w") as archive:
        for other, values in PLAIN.items():
            if other != name:
                with archive.open(f"{other}.npy", "w") as member:
                    np.save(member, values)
        archive.writestr(f"{name}.npy", content)
    with pytest.raises(ConfigError, match=f"{name} is of shape"):
        npz.load(str(file))


def test_images_that_unpack_to_more_than_the_memory_are_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "some.npz", PLAIN, packed=True)
    with pytest.raises(ConfigError, match=r"its images take 0\.0 GB of at most"):
        npz.load(str(file), memory=12 * 72 - 1)
    assert len(npz.load(str(file), memory=12 * 72).train_images) == 5


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "some.npz")
    with pytest.raises(ConfigError, match="no regular file"):
        npz.load(str(tmp_path / "some.npz"))
