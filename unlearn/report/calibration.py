"""Which audits can tell: how often they pass retrained networks, and fail those that are not."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from unlearn.errors import ConfigError
from unlearn.report.runs import TOLD
from unlearn.statistics import lies_inside

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
    complete = runs[runs["status"] == "complete"]
    found = _found(complete)
    sets = _sets(found.values())
    if not sets:
        raise ConfigError(
            "outputs", runs["directory"].iloc[0], "no complete run was made with evaluation=audit"
        )
    inside: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for index, entries in found.items():
        for number, entry in entries.items():
            inside[number][complete.loc[index, "method"]].append(entry["inside"])
    methods = sorted(set(complete["method"]))
    lines = [
        _line(list(outcomes.values()))
        | {f"{method} inside": _percent(inside[number][method]) for method in methods}
        for number, outcomes in sets.items()
    ]
    index = pd.MultiIndex.from_tuples([(number,) for number in sets], names=["audit"])
    return pd.DataFrame(lines, index=index)


def add_told_inside(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs with the column `TOLD`.

    It is the share of what can tell networks apart in which a run lies inside, NaN if unknown.

    Of the numbers that tell the original or the masked network from retrained ones over all sets
    of networks of a run's data set and model: which these are depends on no method. Averaged over
    the numbers of an audit, then over audits.

    Args:
        runs: as `runs.load` gives them; the records of the complete ones are read, but for those
            whose share is known, since they are lines of a table that another report wrote.
    """
    unknown = pd.Series(float("nan"), index=runs.index)
    shares = runs[TOLD].astype(float) if TOLD in runs else unknown
    complete = runs[(runs["status"] == "complete") & shares.isna()]
    for _, board in complete.groupby(["dataset", "model"]):
        found = _found(board)
        telling = {
            number
            for number, outcomes in _sets(found.values()).items()
            if _told(list(outcomes.values()))
        }
        for index, entries in found.items():
            by_audit: dict[str, list[bool]] = defaultdict(list)
            for number in entries.keys() & telling:
                by_audit[number.partition("/")[0]].append(entries[number]["inside"])
            if by_audit:
                share = sum(sum(v) / len(v) for v in by_audit.values()) / len(by_audit)
                shares[index] = share
    # Not `assign`: it warns about fragmentation in a frame of many columns.
    return pd.concat([runs.drop(columns=TOLD, errors="ignore"), shares.rename(TOLD)], axis=1)


def _found(runs: pd.DataFrame) -> dict[Any, dict[str, Mapping[str, Any]]]:
    """What the audits of each run found, by its row and by number, where there is a spread."""
    found = {}
    for index, directory in runs["directory"].items():
        entries = _audits(Path(directory)).items()
        found[index] = {n: entry for n, entry in entries if entry["inside"] is not None}
    return found


def _sets(found: Iterable[Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Who passes each number, once for each set of networks."""
    sets: dict[str, dict[str, Any]] = defaultdict(dict)
    for entries in found:
        for number, entry in entries.items():
            sets[number][_identity(entry)] = _outcomes(entry)
    return sets


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
        return None if value is None else lies_inside(value, entry["low"], entry["high"])

    networks = {name: passes(entry[name]) for name in ("original", "masked")}
    return {"left_out": entry["left_out"], **networks}


def _line(found: list[dict[str, Any]]) -> dict[str, str]:
    return {
        "sets": str(len(found)),
        "retrained passes": _percent(_passed(found)),
        "original fails": _percent(_failed(found, "original")),
        "masked fails": _percent(_failed(found, "masked")),
        "tells": " and ".join(_told(found)) or "cannot tell",
    }


def _told(found: list[dict[str, Any]]) -> list[str]:
    """The networks that are reliably told from retrained ones."""
    if _share(_passed(found)) < _RELIABLY:
        return []
    return [n for n in ("original", "masked") if _share(_failed(found, n)) >= _RELIABLY]


def _passed(found: list[dict[str, Any]]) -> list[bool]:
    return [passed for outcomes in found for passed in outcomes["left_out"] or ()]


def _failed(found: list[dict[str, Any]], name: str) -> list[bool]:
    return [not outcomes[name] for outcomes in found if outcomes[name] is not None]


def _share(values: list[bool]) -> float:
    return 100 * sum(values) / len(values) if values else 0.0


def _percent(values: list[bool]) -> str:
    return f"{_share(values):.0f}" if values else "-"
