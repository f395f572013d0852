"""Pictures of a few runs, one run a group, embedded in the page."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unlearn.escape import printable
from unlearn.files import read_file
from unlearn.report.groups import Group, Panel

MOST_EXAMPLES = 6
_MOST_PICTURES = 4  # of one run
_TRIED = 20  # runs of a group that are searched for pictures
_PNG = b"\x89PNG\r\n\x1a\n"
_MOST_BYTES = 8 * 2**20
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
        folder = Path(run["directory"])
        files = sorted(folder.glob("figures/*.png"))[:_MOST_PICTURES]
        uris = {file: read_file(file, _read_uri, inside=folder) for file in files}
        pictures = [(_caption(file), uri) for file, uri in uris.items() if uri]
        if pictures:
            name = f"{panel.title}: {group.label}" if panel.title else group.label
            return Example(f"{name}, seed {run['seed']}", run["command"], pictures)
    return None


def _caption(file: Path) -> str:
    return _CAPTIONS.get(file.stem, printable(file.stem.replace("_", " ")))


def _read_uri(file: Path) -> str:
    content = file.read_bytes()
    if not content.startswith(_PNG) or len(content) > _MOST_BYTES:
        raise ValueError(f"no PNG picture of at most {_MOST_BYTES / 2**20:.0f} MiB")
    return "data:image/png;base64," + base64.b64encode(content).decode()
