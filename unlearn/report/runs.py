"""Records as one table: a row for each run, a column for each config key and each figure."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from unlearn.errors import ConfigError, say
from unlearn.report.figures import FIGURES, add_figures, read_figures

DAGGER = "†"  # marks whatever includes a run that real test accuracies steered
TOLD = "told inside"  # share of the discriminating audits in which a run lies inside
LINE = ("dataset", "model", "method", "access", "forget", "seed", "status")
NOTED = ("oracle", "censored", "alarms", "forget_names")
_IDENTITY = (*LINE, "error")
_SETTINGS = ("dataset.", "evaluation.", "filter.", "hardware.", "method.", "model.", "training.")
# Config keys in which the runs of one cell may differ: they are no settings of the method.
_DRAWN = ("training.seed", "hardware.threads", "dataset.memory")


def load(folders: Sequence[Path], figures: Sequence[str] = ()) -> pd.DataFrame:
    """Read the records of all runs under some folders, those of unfinished runs included.

    Args:
        folders: folders of runs. A `.csv` file that `--runs-csv` wrote stands for the runs that
            are its lines.
        figures: short names and dotted paths of the figures that are needed beside `FIGURES`.

    Returns:
        One row a run. Columns are `directory`, `command`, `error`; those of `LINE`; `oracle`
        (real test accuracies steered the run), `censored` (a count of relearning hit its limit)
        and `alarms` (names joined by semicolons); every config key with its dots
        (`method.start`); every figure of `FIGURES`, every declared figure, and those asked for.
        `forget_names` are the names of the forget classes, their indices if they are not known.
        `status` is complete, failed or unfinished (cut off, or still running).

    Raises:
        ConfigError: if a folder holds no record, a file is no such table, or no run has a figure.
    """
    rows: list[dict[str, Any]] = []
    known: set[Path] = set()  # a folder may be given twice, or lie inside another
    for folder in folders:
        if folder.suffix == ".csv":
            rows += [] if folder.resolve() in known else _read_lines(folder)
            known.add(folder.resolve())
            continue
        found = [run for path in sorted(_records(folder)) if (run := _read_run(path, figures))]
        found = [run for run in found if run["status"] == "unfinished" or not _hidden(run)]
        if not found:
            missing = "holds no record.json" if folder.exists() else "is not there"
            raise ConfigError("outputs", folder, missing)
        places = [Path(run["directory"]).resolve() for run in found]
        rows += [run for run, place in zip(found, places, strict=True) if place not in known]
        known.update(places)
    return add_figures(pd.DataFrame(rows).astype(dict.fromkeys(FIGURES, float)), figures)


def _read_lines(path: Path) -> list[dict[str, Any]]:
    """The runs of a CSV file. Columns that older versions did not write get a neutral value."""
    try:
        table = pd.read_csv(path, dtype={"forget": str, "forget_names": str})
    except (OSError, ValueError) as error:
        raise ConfigError("outputs", path, f"cannot be read ({error})") from error
    missing = [key for key in LINE if key not in table and key != "access"]
    if missing:
        raise ConfigError("outputs", path, f"not written by --runs-csv: it has no {missing[0]}")
    absent: dict[str, Any] = {"access": None, "oracle": table.get("access", "") == "oracle"}
    absent |= {"censored": False, "alarms": "", "directory": str(path), "command": None}
    absent |= {"forget_names": table["forget"], "error": None, **dict.fromkeys(FIGURES)}
    table = table.assign(**{key: v for key, v in absent.items() if key not in table})
    table["forget_names"] = table["forget_names"].fillna(table["forget"])
    table["alarms"] = table["alarms"].astype(object).fillna("")
    return [{str(key): value for key, value in line.items()} for line in table.to_dict("records")]


def _records(folder: Path) -> Iterator[Path]:
    """Every record. Hidden folders are skipped, except those of unfinished runs."""
    for directory, folders, files in os.walk(folder):
        folders[:] = [f for f in folders if not f.startswith(".") or f.endswith(".partial")]
        if "record.json" in files:
            yield Path(directory, "record.json")


def _read_run(path: Path, figures: Sequence[str]) -> dict[str, Any] | None:
    """The row of a record, None if its run ended meanwhile, which renames the folder.

    A record that cannot be read is named on stderr and left out.
    """
    try:
        record = json.loads(path.read_text())
        row: dict[str, Any] = {"directory": str(path.parent), "command": record.get("command")}
        row |= flatten(record.get("config") or {})
        row |= {key: _shown(record.get(key)) for key in _IDENTITY}
        row["forget_names"] = _shown(record.get("forget_names") or record.get("forget"))
        row["oracle"] = bool(record.get("oracle")) or record.get("access") == "oracle"
        row["censored"] = bool((record.get("relearn") or {}).get("censored"))
        row["alarms"] = "; ".join(line.split(":")[0] for line in record.get("alarms") or [])
        return row | read_figures(record, figures)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        say(f"{path}: cannot be read as a record ({' '.join(str(error).split())}); left out")
        return None


def _hidden(run: Mapping[str, Any]) -> bool:
    return Path(run["directory"]).name.startswith(".")


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values under dotted keys; lists become text."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            found |= flatten(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = _shown(value)
    return found


def _shown(value: Any) -> Any:
    """A list as text, so that it can be compared and grouped; other values as they are."""
    return ",".join(map(str, value)) if isinstance(value, list) else value


def check_keys(runs: pd.DataFrame, option: str, keys: Sequence[str]) -> None:
    """Raise `ConfigError` for a key that no record has, or for a figure, which groups nothing."""
    for key in keys:
        if key in FIGURES and option != "where":
            raise ConfigError(option, key, "is a figure, not a key")
        if key not in runs:
            near = difflib.get_close_matches(key, [str(c) for c in runs.columns], n=5, cutoff=0.4)
            raise ConfigError(option, key, f"no record has it; near it are {', '.join(near)}")


def only(runs: pd.DataFrame, conditions: Sequence[str]) -> pd.DataFrame:
    """The runs that meet every condition.

    Args:
        runs: as `load` gives them.
        conditions: each `KEY=VALUE`; the value of a key that is off is `null`.

    Raises:
        ConfigError: for a condition that has no `=`, names no key, or leaves no run.
    """
    for condition in conditions:
        key, sign, value = condition.partition("=")
        if not sign:
            raise ConfigError("where", condition, "must be KEY=VALUE")
        check_keys(runs, "where", [key])
        texts = runs[key].map(as_text)
        met = texts == _normalised(value)
        if not met.any():
            allowed = ", ".join(sorted(set(texts)))
            raise ConfigError("where", condition, f"no run is left; allowed are {allowed}")
        runs = runs[met]
    return runs


def _normalised(value: str) -> str:
    """A typed value as `as_text` writes it."""
    value = value.strip("[]")
    try:
        return as_text(float(value)) if "." in value else value
    except ValueError:
        return value


def as_text(value: Any) -> str:
    """A config value as tables and the command line write it."""
    if value is None or value != value:  # NaN, which pandas puts for None
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def label_classes(runs: pd.DataFrame) -> pd.Series:
    """Return the forget classes as tables show them: indices, and names where they are known.

    A record from before there were names gets those of the other runs, if these agree.

    Args:
        runs: as `load` gives them.
    """
    indices, names = (runs[key].map(as_text) for key in ("forget", "forget_names"))
    known = (indices + " (" + names + ")").where(names != indices)
    groups = known.groupby([runs["dataset"], indices])
    agreed = groups.transform("first").where(groups.transform("nunique") == 1)
    return known.fillna(agreed).fillna(indices)


def mixed(runs: pd.DataFrame, keys: Sequence[str]) -> list[str]:
    """Config keys in which complete runs of one group differ.

    Args:
        runs: as `load` gives them.
        keys: whose values make the groups.
    """
    complete = runs[runs["status"] == "complete"]
    candidates = [
        key
        for key in map(str, complete.columns)
        if key.startswith(_SETTINGS)
        and key not in {*_DRAWN, *keys}
        and complete[key].map(as_text).nunique() > 1
    ]
    if not candidates:
        return []
    texts = complete[candidates].map(as_text)
    groups = texts.groupby([complete[key].map(as_text) for key in keys])
    differing = groups.nunique().max() > 1
    return [key for key in candidates if differing[key]]
