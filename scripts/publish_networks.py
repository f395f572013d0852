"""Copy the trained networks of a cache into a folder that others can check against.

    python scripts/publish_networks.py outputs/cache docs/results/cifar10/networks
    unlearn dataset=cifar10 dataset.root=cifar10.npz model=resnet20 \
        networks=docs/results/cifar10/networks

Each network has a folder of its own, with `model.safetensors` and `model.json`: what decides its
weights, their SHA-256, its accuracy and the seconds of its training. A run whose settings are the
same reads it in place of training, on whatever machine. The accuracies in the table are on the test
set: D_r and D_f of a teacher are those of the first run that used it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from unlearn.errors import ConfigError, exit_on_error
from unlearn.runner.published import publish


def main() -> None:
    """Publish all networks of a cache, and print a table of all networks of the folder."""
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
            publish(note.parent, options.folder, json.loads(note.read_text())["config"])
    print(as_table(options.folder))


def as_table(folder: Path) -> str:
    """A Markdown table of the published networks: one line each, teachers first."""
    lines = [_describe(note) for note in folder.glob("*/model.json")]
    head = ["| network | seed | trained without | epochs | D_r | D_f | minutes | SHA-256 |"]
    return "\n".join([*head, "| --- " * 8 + "|", *sorted(lines)])


def _describe(note: Path) -> str:
    """A network's line of the table."""
    about = json.loads(note.read_text())
    model, training = about["config"]["model"], about["config"]["training"]
    left_out = sorted(set(range(model["num_classes"])) - set(about["config"]["classes"]))
    accuracy = about["accuracy"]
    cells = [
        model["name"],
        training["seed"],
        ", ".join(map(str, left_out)) or "-",
        training["epochs"],
        f"{accuracy['retain']:.2f}",
        f"{accuracy['forget']:.2f}",
        f"{about['seconds'] / 60:.0f}",
        f"{about['sha256'][:12]}",
    ]
    return "| " + " | ".join(map(str, cells)) + " |"


if __name__ == "__main__":
    main()
