"""`unlearn-clean`: removes what may show or hold the forgotten classes, and says what."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from unlearn.errors import UnlearnError, exit_on_error

# Below a folder of runs: pictures, the cache of trained networks and decoded images, and W&B's
# local copies of pictures and checkpoints.
_PATTERNS = ("**/figures", "**/cache", "**/wandb/**/media", "**/wandb/**/artifacts")


def find_leftovers(outputs: Path) -> Iterator[Path]:
    """Yield the folders that `clean` removes; no link is followed.

    Raises:
        UnlearnError: If there is no such folder.
    """
    if not outputs.is_dir():
        raise UnlearnError(f"{outputs}: no such folder")
    found = {path for pattern in _PATTERNS for path in outputs.glob(pattern)}
    for path in sorted(found):
        inside = any(parent in found for parent in path.parents)
        if path.is_dir() and not path.is_symlink() and not inside:
            yield path


def clean(outputs: Path) -> list[tuple[Path, int]]:
    """Remove the leftovers below a folder of runs; return each with its size in bytes."""
    removed = []
    for path in list(find_leftovers(outputs)):
        size = sum(file.lstat().st_size for file in path.rglob("*") if not file.is_dir())
        shutil.rmtree(path)
        removed.append((path, size))
    return removed


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="unlearn-clean",
        description="Remove inverted images, cached networks and images, and local W&B media. "
        "Records, histories and unlearned checkpoints stay.",
    )
    parser.add_argument("outputs", type=Path, help="a folder of runs")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    arguments = parser.parse_args()
    with exit_on_error("unlearn-clean"):
        if arguments.dry_run:
            for path in find_leftovers(arguments.outputs):
                print(f"would remove {path}")
            return
        removed = clean(arguments.outputs)
    for path, size in removed:
        print(f"removed {path} ({size / 2**20:.1f} MiB)")
    sys.stdout.write("" if removed else "nothing to remove\n")


if __name__ == "__main__":
    main()
