"""A user's own images, from folders to the record."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.command_line import Cli, record_in

QUICK = [
    *("dataset=image_folder", "dataset.root=own", "dataset.num_classes=4", "model=lenet"),
    *("dataset.shape=[3,16,16]", "training.epochs=1", "method=fine_tune", "method.epochs=1"),
    *("evaluation=quick", "hardware=cpu", "hardware.threads=1", "tracking.mode=disabled"),
]
NAMES = ("10", "2", "dog", "[red]")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Four classes, a bright quarter each, in folders with the names above."""
    random = np.random.default_rng(0)
    for part, count in (("train", 10), ("test", 4)):
        for label, name in enumerate(NAMES):
            folder = tmp_path / "own" / part / name
            folder.mkdir(parents=True)
            top, left = divmod(label, 2)
            for i in range(count):
                pixels = random.integers(0, 90, (16, 16, 3), dtype=np.uint8)
                pixels[8 * top : 8 * top + 8, 8 * left : 8 * left + 8] += 150
                Image.fromarray(pixels).save(folder / f"{i}.png")
    return tmp_path / "own"


@pytest.mark.usefixtures("own")
def test_a_run_is_the_same_from_memory_and_from_disk(cli: Cli, tmp_path: Path) -> None:
    found = []
    for memory in (4, 0):
        done = cli(*QUICK, f"dataset.memory={memory}", f"outputs=out{memory}", f"run_dir=r{memory}")
        assert done.returncode == 0, done.stderr
        record = record_in(tmp_path / f"r{memory}")
        student = (tmp_path / f"r{memory}/student.safetensors").read_bytes()
        figures = {key: record[key] for key in ("config_hash", "accuracy", "ledger")}
        found.append(figures | {"student": hashlib.sha256(student).hexdigest()})
        assert list((tmp_path / f"out{memory}/cache").glob("images-*/train.npy"))
    assert found[0] == found[1]
