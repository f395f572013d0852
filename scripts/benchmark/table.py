"""The Markdown table of all measured settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_HEAD = (
    "method",
    "model",
    "batch",
    "precision",
    "published / ours",
    "(least to most)",
    "published, s",
    "ours, s",
    "images/s",
    "of the matrix rate",
    "student step",
    "teacher",
    "student",
    "generator",
    "rest",
    "peak MiB, published / ours",
)


def format_table(folder: Path) -> str:
    """Return the table of every setting whose JSON file lies under a folder."""
    lines = [_HEAD, ("---",) * len(_HEAD)]
    lines += [_format_row(json.loads(path.read_text())) for path in sorted(folder.rglob("*.json"))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def _format_row(found: Mapping[str, Any]) -> tuple[str, ...]:
    ratio, steps, seconds = found["ratio"], found["steps"], found["seconds_a_step"]
    compiled = ", compiled" if found["compiled"] else ""
    parts = (found["shares"]["ours"].get(k, 0) for k in ("teacher", "student", "generator", "rest"))
    return (
        found["method"],
        found["model"],
        str(found["batch"]),
        found["precision"] + compiled,
        f"{ratio['median']:.1f}×",
        f"{ratio['least']:.1f} to {ratio['most']:.1f}",
        *(f"{seconds[k] * steps[k]:,.0f}" for k in ("published", "ours")),
        f"{found['images_a_second']['ours']:,.0f}",
        f"{found['floor_seconds_a_step'] / seconds['ours']:.0%}",
        f"{found['student_step']['of_matrix_rate']:.0%}" if found["student_step"] else "-",
        *(f"{part:.0%}" for part in parts),
        " / ".join(f"{found['peak_mib'][k] or 0:,.0f}" for k in ("published", "ours")),
    )
