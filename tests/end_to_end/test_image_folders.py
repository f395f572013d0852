"""A user's own images, from folders to the record."""

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
NPZ = ["dataset.num_classes=4", "dataset.classes=[left,right,up,down]", "forget=left"]
NAMES = ("10", "2", "[red]", "dog")


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
        cli(*QUICK, f"dataset.memory={memory}", f"outputs=out{memory}", f"run_dir=r{memory}")
        record = record_in(tmp_path / f"r{memory}")
        student = (tmp_path / f"r{memory}/student.safetensors").read_bytes()
        figures = {key: record[key] for key in ("config_hash", "accuracy", "ledger")}
        found.append(figures | {"student": hashlib.sha256(student).hexdigest()})
        assert list((tmp_path / f"out{memory}/cache").glob("images-*/train.npy"))
    assert found[0] == found[1]


def test_an_npz_file_with_a_validation_set_can_be_unlearned(cli: Cli, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 40), ("val", 8), ("test", 16)):
        arrays[f"{split}_images"] = random.integers(0, 256, (count, 16, 16), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(count)[:, None] % 4
    np.savez(tmp_path / "own.npz", **arrays)
    words = ["dataset=npz", "dataset.root=own.npz", "dataset.shape=[1,16,16]", "dataset.memory=0"]
    cli(*(word for word in QUICK if "dataset" not in word), *words, *NPZ, "run_dir=r")
    record = record_in(tmp_path / "r")
    assert record["ledger"]["images_per_class"] == [0, 10, 10, 10]
    assert record["forget_names"] == ["left"]


@pytest.mark.usefixtures("own")
def test_names_of_folders_stand_in_the_table_and_in_the_record(cli: Cli, tmp_path: Path) -> None:
    done = cli(*QUICK, "forget=['2','[red]']", "run_dir=r")
    assert "forget 2, [red] (classes 1, 2)" in done.stdout
    record = record_in(tmp_path / "r")
    assert record["forget"] == [1, 2]
    assert record["forget_names"] == ["2", "[red]"]
    again = cli(*QUICK, "forget=[2,1]", "run_dir=r")
    assert "was done before" in again.stderr


@pytest.mark.usefixtures("own")
def test_a_sweep_by_names_is_the_sweep_by_indices(cli: Cli) -> None:
    named = cli("-m", *QUICK, "forget=dog,['2'],[dog,'10']", "launch=plan")
    assert "3 runs: 3 new" in named.stderr
    cli(*QUICK, "forget=[0,3]")
    assert "3 runs: 1 done, 2 new" in cli("-m", *QUICK, "forget=3,1,[3,0]", "launch=plan").stderr


@pytest.mark.parametrize(
    "words",
    [
        ["forget=wolf"],
        ["forget=[dog,3]"],
        ["forget=dog", "dataset.root=nowhere"],
        ["dataset.num_classes=5"],
        ["forget=dog", "dataset=digits"],
        ["forget=cat", "dataset=none", "dataset.mean=[0]", "dataset.std=[1]", "model.checkpoint=c"],
    ],
    ids=" ".join,
)
@pytest.mark.usefixtures("own")
def test_what_names_no_class_is_refused_in_one_line(words: list[str], cli: Cli) -> None:
    done = cli(*QUICK, *words, code=2)
    assert len(done.stderr.splitlines()) == 1
