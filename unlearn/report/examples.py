"""Pictures of a few runs, one run a group, embedded in the page."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unlearn.report.groups import Group, Panel

MOST_EXAMPLES = 6
_MOST_PICTURES = 4  # of one run
_TRIED = 20  # runs of a group that are searched for pictures
_CAPTIONS = {
    "samples": "synthesised images with the teacher's class and the filter's decision",
    "inversion_attack": "images that an attacker inverts from the networks for the forget class",
}


@dataclass(frozen=True)
class Example:
    """The pictures of one run.

    Args:
        label: group and seed of the run.
        command: the words that were typed after `unlearn` for it.
        pictures: a caption and a data URI for each.
    """

    label: str
    command: list[str] | None
    pictures: list[tuple[str, str]]


def examples(panels: Sequence[Panel]) -> list[Example]:
    """For each of the first groups, the pictures of the first run that has any."""
    found: list[Example] = []
    for panel in panels:
        for group in panel.groups:
            example = _example(panel, group) if len(found) < MOST_EXAMPLES else None
            found += [example] if example else []
    return found


def _example(panel: Panel, group: Group) -> Example | None:
    for _, run in group.runs[:_TRIED].iterrows():
        files = sorted(Path(run["directory"], "figures").glob("*.png"))[:_MOST_PICTURES]
        if files:
            name = f"{panel.title}: {group.label}" if panel.title else group.label
            label = f"{name}, seed {run['seed']}"
            return Example(label, run["command"], [(_caption(file), _uri(file)) for file in files])
    return None


def _caption(file: Path) -> str:
    return _CAPTIONS.get(file.stem, file.stem.replace("_", " "))


def _uri(file: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(file.read_bytes()).decode()
