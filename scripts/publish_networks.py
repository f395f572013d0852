"""Copy the trained networks of a cache into a folder that others can check against.

    python scripts/publish_networks.py outputs/cache docs/results/cifar10/networks
    unlearn dataset=cifar10 dataset.root=cifar10.npz model=resnet20 \
        networks=docs/results/cifar10/networks

Each network has a folder of its own, with `model.safetensors` and `model.json`: what decides its
weights, their SHA-256, its accuracy and the seconds of its training. A run whose settings are the
same reads it in place of training, on whatever machine.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from unlearn.errors import ConfigError, exit_on_error
from unlearn.runner.published import publish


def main() -> None:
    """Publish all networks of a cache, and print where each lies."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cache", type=Path, help="the folder `cache` in the outputs of runs")
    parser.add_argument("folder", type=Path, help="the folder of published networks")
    options = parser.parse_args()
    with exit_on_error("publish_networks"):
        notes = sorted(options.cache.glob("*-*/model.json"))
        if not notes:
            raise ConfigError("cache", options.cache, "holds no trained network")
        for note in notes:
            determinants = json.loads(note.read_text())["config"]
            print(publish(note.parent, options.folder, determinants))


if __name__ == "__main__":
    main()
