"""The paper's runs on small files in the real formats: every data set, network and method."""

import gzip
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from tests.data.test_mnist import idx
from tests.helpers.command_line import run_program
from tests.helpers.paths import ROOT

# torchvision knows the published SVHN and CIFAR-10 files by their check sums.
ANY_FILE = """
from pathlib import Path
from torchvision.datasets import cifar, svhn
from unlearn.__main__ import main
cifar.check_integrity = svhn.check_integrity = lambda path, md5=None: Path(path).is_file()
main()
"""
ROWS = {"train": 40, "test": 20}


def drawn(part: str, size: int, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, H, W, C) that get brighter from class 0 to class 9, and their labels."""
    random = np.random.default_rng(4)
    labels = np.arange(ROWS[part], dtype=np.uint8) % 10
    noise = random.integers(0, 60, (len(labels), size, size, channels), dtype=np.uint8)
    return noise + 20 * labels[:, None, None, None], labels


def write_mnist(root: Path) -> None:
    for part, name in (("train", "train"), ("test", "t10k")):
        images, labels = drawn(part, 28, 1)
        for kind, values in (("images-idx3", images[..., 0]), ("labels-idx1", labels)):
            (root / f"{name}-{kind}-ubyte.gz").write_bytes(gzip.compress(idx(values)))


def write_svhn(root: Path) -> None:
    for part in ("train", "test"):
        images, labels = drawn(part, 32, 3)
        tens = np.where(labels == 0, 10, labels)[:, None]
        savemat(root / f"{part}_32x32.mat", {"X": images.transpose(1, 2, 3, 0), "y": tens})


def write_cifar10(root: Path) -> None:
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    images, labels = drawn("train", 32, 3)
    names = [f"data_batch_{i}" for i in range(1, 6)]
    parts = list(zip(names, np.split(images, 5), np.split(labels, 5), strict=True))
    for name, rows, own in [*parts, ("test_batch", *drawn("test", 32, 3))]:
        batch = {"data": rows.transpose(0, 3, 1, 2).reshape(-1, 3072), "labels": own.tolist()}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
    meta = {"label_names": [str(i) for i in range(10)]}
    (folder / "batches.meta").write_bytes(pickle.dumps(meta, protocol=2))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dataset", "write", "words", "settings"),
    [
        ("mnist", write_mnist, ["model=lenet"], {("lenet", "1")}),
        ("fashion_mnist", write_mnist, ["forget=[0]"], {("allcnn", "0")}),
        (
            "svhn",
            write_svhn,
            ["model=resnet9", "forget=[0]", "model.width=0.1"],
            {("resnet9", "0")},
        ),
        (
            "cifar10",
            write_cifar10,
            ["model=allcnn_full", "forget=[1,2]", "model.width=0.1"],
            {("allcnn", "1,2")},
        ),
    ],
)
def test_the_small_design_runs_and_stands_in_the_table(
    tmp_path: Path,
    dataset: str,
    write: Callable[[Path], None],
    words: list[str],
    settings: set[tuple[str, str]],
) -> None:
    write(tmp_path)
    typed = [f"experiment=[published/{dataset},quick]", f"dataset.root={tmp_path}", *words]
    small = ["max_steps=2", "batch_size=16"]
    shrunk = [*(f"evaluation.metrics.relearn.{word}" for word in small), "method.batch_size=8"]
    shrunk += ["training.epochs=1", "filter.gate=1"]
    run_program("-c", ANY_FILE, *typed, *shrunk, "hardware.threads=1", folder=tmp_path)
    found = [json.loads(path.read_text()) for path in tmp_path.rglob("record.json")]
    assert {(r["model"], ",".join(map(str, r["forget"])), r["method"]) for r in found} == {
        (*setting, method) for setting in settings for method in ("gkt", "noise")
    }
    assert {r["status"] for r in found} == {"complete"}
    assert {r["access"] for r in found if r["method"] == "gkt"} == {"oracle"}

    script = ROOT / "scripts" / "published_tables.py"
    table = run_program(script, "outputs", folder=tmp_path)
    ours = [line for line in table.stdout.splitlines() if line.startswith(f"| {dataset} |")]
    ours = [line for line in ours if "none" not in line]
    assert len(ours) == len(found)
    assert all("training.epochs=1" in line for line in ours)
