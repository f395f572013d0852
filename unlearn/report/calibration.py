"""Which audits can tell: how often they pass retrained networks, and fail those that are not."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from unlearn.errors import ConfigError

_RELIABLY = 80.0  # percent of the sets of networks
RULE = (
    "Passes: inside the 95% prediction interval of retrained networks; a retrained one is left out "
    "of the others' interval. Each set of networks counts once, whatever runs share it. An audit "
    f"tells a network if it fails it in {_RELIABLY:.0f}% of the sets or more and passes as many of "
    "those left out."
)


def calibration(runs: pd.DataFrame) -> pd.DataFrame:
    """A row for each number that an audit finds, in the order of the records.

    Args:
        runs: as `runs.load` gives them; the records of the complete ones are read.

    Returns:
        A frame of text, percent: `sets` of networks, `retrained passes` (left out), `original
        fails`, `masked fails`, what the audit `tells` from retrained, and for each method how
        many of its networks are inside.

    Raises:
        ConfigError: if no complete run was audited with two references or more.
    """
    sets: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    inside: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    complete = runs[runs["status"] == "complete"]
    for directory, method in zip(complete["directory"], complete["method"], strict=True):
        for number, entry in _audits(Path(directory)).items():
            if entry["inside"] is not None:
                sets[number][_identity(entry)] = _outcomes(entry)
                inside[number][method].append(entry["inside"])
    if not sets:
        raise ConfigError("calibration", True, "no complete run was made with evaluation=audit")
    methods = sorted(set(complete["method"]))
    lines = [
        _line(list(found.values()))
        | {f"{method} inside": _percent(inside[number][method]) for method in methods}
        for number, found in sets.items()
    ]
    index = pd.MultiIndex.from_tuples([(number,) for number in sets], names=["audit"])
    return pd.DataFrame(lines, index=index)


def _audits(directory: Path) -> Mapping[str, Mapping[str, Any]]:
    """What was found in a run, nothing where its record is not at hand."""
    file = directory / "record.json"
    if not file.is_file():
        return {}
    found: dict[str, Any] = json.loads(file.read_text()).get("audits", {})
    return found


def _identity(entry: Mapping[str, Any]) -> str:
    """The same for runs that share all networks but the unlearned one."""
    return json.dumps([entry[key] for key in ("original", "retrained", "references", "masked")])


def _outcomes(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Who passes: a list for those left out, else true or false, None for a network not there."""

    def passes(value: float | None) -> bool | None:
        return None if value is None else entry["low"] <= value <= entry["high"]

    networks = {name: passes(entry[name]) for name in ("original", "masked")}
    return {"left_out": entry["left_out"], **networks}


def _line(found: list[dict[str, Any]]) -> dict[str, str]:
    passed = [passed for outcomes in found for passed in outcomes["left_out"] or ()]
    failed = {
        name: [not outcomes[name] for outcomes in found if outcomes[name] is not None]
        for name in ("original", "masked")
    }
    told = [name for name, values in failed.items() if _share(values) >= _RELIABLY]
    tells = " and ".join(told) if told and _share(passed) >= _RELIABLY else "cannot tell"
    return {
        "sets": str(len(found)),
        "retrained passes": _percent(passed),
        "original fails": _percent(failed["original"]),
        "masked fails": _percent(failed["masked"]),
        "tells": tells,
    }


def _share(values: list[bool]) -> float:
    return 100 * sum(values) / len(values) if values else 0.0


def _percent(values: list[bool]) -> str:
    return f"{_share(values):.0f}" if values else "-"
