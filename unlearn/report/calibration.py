"""Which audits can tell networks that kept the forget classes from retrained networks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from unlearn.errors import ConfigError
from unlearn.files import read_file
from unlearn.report.runs import TOLD
from unlearn.statistics import lies_inside

_RELIABLY = 80.0  # percent of the sets of networks
RULE = (
    "A network passes an audit if it lies inside the 95% prediction interval of the retrained "
    "networks; a retrained network that is left out is compared with the interval of the others. "
    "Each set of networks counts once, however many runs share it. An audit tells a network if "
    f"the network fails in {_RELIABLY:.0f}% of the sets or more, and the retrained networks that "
    "are left out pass as often."
)
_NETWORKS = ("original", "masked")


def calibration(runs: pd.DataFrame) -> pd.DataFrame:
    """A row for each number that an audit finds, in the order of the records.

    Args:
        runs: as `runs.load` gives them; the records of the complete ones are read.

    Returns:
        A frame of text: the number of `sets` of networks; in percent `retrained passes` (each
        left out), `original fails`, `masked fails`; what the audit `tells` from retrained
        networks; and in percent how many of each method's networks are inside.

    Raises:
        ConfigError: if no complete run was audited with two references or more.
    """
    found = _read_audits(runs[runs["status"] == "complete"])
    if found.empty:
        first = runs["directory"].iloc[0]
        raise ConfigError("outputs", first, "no complete run was made with evaluation=audit")
    shares = _shares(found)
    table = shares.drop(columns="tells").map(_as_percent)
    table.insert(0, "sets", found.groupby("number", sort=False)["set"].nunique().astype(str))
    table["tells"] = [" and ".join(told) or "cannot tell" for told in shares["tells"]]
    methods = _percent(found, ["number", "method"], "inside").unstack().reindex(shares.index)
    table = table.join(methods.map(_as_percent).add_suffix(" inside"))
    return table.set_axis(pd.MultiIndex.from_arrays([table.index], names=["audit"]))


def add_told_inside(runs: pd.DataFrame) -> pd.DataFrame:
    """Add the column `TOLD`: the share of discriminating audits in which a run lies inside.

    The audits that count are those that tell the original or the masked network from retrained
    networks over all sets of networks of the run's data set and model. Which these are does not
    depend on any method. The share is the mean over the numbers of an audit, then over audits.

    Args:
        runs: as `runs.load` gives them. The records of the complete ones are read, except where
            the share is known from a CSV file.
    """
    unknown = pd.Series(float("nan"), index=runs.index)
    shares = runs[TOLD].astype(float) if TOLD in runs else unknown
    complete = runs[(runs["status"] == "complete") & shares.isna()]
    for _, board in complete.groupby(["dataset", "model"]):
        found = _read_audits(board)
        if len(found):
            tells = _shares(found)["tells"]
            counted = found[found["number"].map(tells).astype(bool)]
            audits = counted.assign(audit=counted["number"].str.split("/").str[0])
            by_audit = audits.groupby(["run", "audit"])["inside"].mean()
            shares.update(by_audit.groupby("run").mean())
    # Not `assign`: it warns about fragmentation in a frame of many columns.
    return pd.concat([runs.drop(columns=TOLD, errors="ignore"), shares.rename(TOLD)], axis=1)


def _read_audits(runs: pd.DataFrame) -> pd.DataFrame:
    """A row for each number of each run that has a spread to lie inside of.

    Columns are `run` (its index label), `method`, `number`, `inside`; `set`, the same for runs
    that share all networks but the unlearned one; whether each of `_NETWORKS` fails, None for a
    network that was not audited; and `left_out`, whether each retrained network passes.
    """
    rows = []
    for run, directory, method in runs[["directory", "method"]].itertuples():
        found = read_file(Path(directory, "record.json"), _read_outcomes) or []
        rows += [{"run": run, "method": method, **outcomes} for outcomes in found]
    return pd.DataFrame(rows)


def _read_outcomes(path: Path) -> list[dict[str, Any]]:
    audits = json.loads(path.read_text(encoding="utf-8")).get("audits", {})
    return [
        {"number": number, "inside": entry["inside"], **_outcomes(entry)}
        for number, entry in audits.items()
        if entry["inside"] is not None
    ]


def _outcomes(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Who fails and who passes one number of an audit."""
    keys = ("original", "retrained", "references", "masked")
    found = {"set": json.dumps([entry[key] for key in keys]), "left_out": entry["left_out"]}
    for name in _NETWORKS:
        value = entry[name]
        passes = value is not None and lies_inside(value, entry["low"], entry["high"])
        found[name] = None if value is None else not passes
    return found


def _shares(found: pd.DataFrame) -> pd.DataFrame:
    """Percentages by number, each set of networks once, and the networks that the number tells."""
    once = found.drop_duplicates(["number", "set"])
    shares = pd.DataFrame(
        {
            "retrained passes": _percent(once.explode("left_out"), ["number"], "left_out"),
            **{f"{name} fails": _percent(once, ["number"], name) for name in _NETWORKS},
        }
    )
    reliable = shares >= _RELIABLY
    shares["tells"] = [
        [name for name in _NETWORKS if line["retrained passes"] and line[f"{name} fails"]]
        for _, line in reliable.iterrows()
    ]
    return shares


def _percent(rows: pd.DataFrame, by: list[str], column: str) -> pd.Series:
    """The percentage of rows in which a column is true, of those in which it is known."""
    groups = rows.groupby(by, sort=False)[column]
    return 100 * groups.sum().astype(float) / groups.count()


def _as_percent(value: float) -> str:
    return "-" if value != value else f"{value:.0f}"
