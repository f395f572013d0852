"""The evidence of a run: what was asked, what was done, and what was measured.

It is written for whoever has to show that a deletion request was carried out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from unlearn.escape import markdown
from unlearn.records.record import look_up, write_json

CARD, PAGE = "model_card.json", "MODEL_CARD.md"
# What a card shows: label, unit, path in the record, path of the noise floor if there is one.
_FIGURES = (
    ("D_r, test accuracy on the retain classes", "%", "accuracy.unlearned.test.retain", None),
    ("D_f, test accuracy on the forget classes", "%", "accuracy.unlearned.test.forget", None),
    ("D_r of the retrained network", "%", "accuracy.retrained.test.retain", None),
    ("AIN, relearning steps against the retrained network's", "", "relearn.ain", None),
    (
        *("Probe, unlearned minus retrained, last features", "points"),
        *("probe.penultimate", "probe.floor.penultimate"),
    ),
    ("Membership AUC, distance to retrained", "", "membership.gap", "membership.floor"),
    (
        *("JS divergence from retrained on forget images", "bits"),
        *("divergence.forget", "divergence.floor.forget"),
    ),
    ("Proxy without data: retain classes answered as before", "%", "proxy.retain", None),
    ("Proxy without data: forget classes still answered", "%", "proxy.forget", None),
)
_LIMITS = (
    "The unlearning is approximate. It is not certified, and gives no formal guarantee.",
    "A low D_f does not show that the features lost the class: a probe with a few labelled images "
    "may still find it. Compare the probe with its floor.",
    "Figures describe the images that they were measured on, and the attacks that were tried.",
)
_WITHOUT_DATA = (
    "No data were available: no accuracy, no attack and no comparison with a retrained network "
    "was measured. The proxy uses images inverted from the teacher."
)


def make_card(
    record: Mapping[str, Any], weights_in: Mapping[str, str], weights_out: Mapping[str, str]
) -> dict[str, Any]:
    """Return the evidence of a run as plain values.

    Args:
        record: The run's record.
        weights_in: The teacher's `file` and `sha256`.
        weights_out: The student's `file`, in the run folder, and `sha256`.
    """
    evidence = [
        {
            "figure": label,
            "unit": unit,
            "path": path,
            "value": look_up(record, path),
            "floor": None if floor is None else look_up(record, floor),
        }
        for label, unit, path, floor in _FIGURES
        if look_up(record, path) is not None
    ]
    limits = [*_LIMITS, *([_WITHOUT_DATA] if record["dataset"] == "none" else [])]
    return {
        "forget": record["forget"],
        "forget_names": record.get("forget_names"),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "method": record["method"],
        "access": record["access"],
        "real_data_read": record["ledger"],
        "command": record["command"],
        "config_hash": record["config_hash"],
        "weights_in": dict(weights_in),
        "weights_out": dict(weights_out),
        "versions": record["versions"],
        "evidence": evidence,
        "alarms": record["alarms"],
        "limits": limits,
    }


def write_card(folder: Path, card: Mapping[str, Any]) -> None:
    """Write a card into a run folder, as JSON and as a page."""
    write_json(folder / CARD, card)
    (folder / PAGE).write_text(_format_page(card), encoding="utf-8")


def digest_file(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and digests of a folder's files, in hex."""
    if path.is_dir():  # as a Hugging Face checkpoint is
        files = sorted(file for file in path.rglob("*") if file.is_file())
        told = "".join(f"{file.relative_to(path)} {digest_file(file)}\n" for file in files)
        return hashlib.sha256(told.encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _format_page(card: Mapping[str, Any]) -> str:
    names = card["forget_names"] or card["forget"]
    read = card["real_data_read"]
    images = read.get("images") or 0
    lines = [
        "# Unlearned network",
        "",
        f"- Forgotten classes: {', '.join(markdown(name) for name in names)}",
        f"- Date: {card['date']}",
        f"- Method: {markdown(card['method'])}, access to real data: {card['access']}",
        f"- Real images that the method read: {images}",
        f"- Weights in: {_format_weights(card['weights_in'])}",
        f"- Weights out: {_format_weights(card['weights_out'])}",
        f"- Run: {card['config_hash']}",
        "",
        "## Evidence",
        "",
        "The floor is what two retrained networks of different seeds differ by.",
        "",
        "| figure | value | floor |",
        "|---|---|---|",
    ]
    for row in card["evidence"]:
        floor = "" if row["floor"] is None else f"{row['floor']:.4g}"
        lines.append(f"| {row['figure']} | {row['value']:.4g} {row['unit']} | {floor} |")
    lines += ["", *(f"Alarm: {markdown(alarm)}" for alarm in card["alarms"])]
    lines += ["", "## Limits", "", *(f"- {limit}" for limit in card["limits"])]
    versions = ", ".join(f"{name} {version}" for name, version in card["versions"].items())
    lines += ["", "## Versions", "", versions, "", "Check this folder with `unlearn-verify`.", ""]
    return "\n".join(lines)


def _format_weights(weights: Mapping[str, str]) -> str:
    return f"`{weights['file'].replace('`', '')}`, SHA-256 `{weights['sha256']}`"
