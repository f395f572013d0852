"""Records as one table: a row a run, a column a config key or a figure."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from unlearn.errors import ConfigError, say

# Figures by the names that tables use: where the record keeps them.
FIGURES = {
    "original D_r": "accuracy.original.test.retain",
    "original D_f": "accuracy.original.test.forget",
    "retrained D_r": "accuracy.retrained.test.retain",
    "retrained D_f": "accuracy.retrained.test.forget",
    "D_r": "accuracy.unlearned.test.retain",
    "D_f": "accuracy.unlearned.test.forget",
    "max D_f": "onset.largest",
    "D_r proxy": "selection.proxy.retain",
    "D_f proxy": "selection.proxy.forget",
    "D_r oracle": "selection.oracle.retain",
    "D_f oracle": "selection.oracle.forget",
    "rho": "selection.spearman.score",
    "rho D_r": "selection.spearman.retain",
    "rho D_f": "selection.spearman.forget",
    "proxy": "proxy.score",
    "relearn": "relearn.unlearned_steps",
    "retrained relearn": "relearn.retrained_steps",
    "AIN": "relearn.ain",
    "MIA": "membership.unlearned.auc",
    "retrained MIA": "membership.retrained.auc",
    "MIA gap": "membership.gap",
    "MIA floor": "membership.floor",
    "JS forget": "divergence.forget",
    "JS floor": "divergence.floor.forget",
    "probe": "probe.penultimate",
    "probe score": "probe.unlearned.-1",
    "retrained probe score": "probe.retrained.-1",
    "probe floor": "probe.floor.penultimate",
    "probe max": "probe.excess",
    "probe max floor": "probe.floor.excess",
    "audits inside": "audits_inside",
    "s": "seconds.unlearn",
    "retrained s": "seconds.retrained",
    "real images": "ledger.images",
    "real labels": "ledger.labels",
    "added MiB": "peak_memory.added",
    "GPU MiB": "peak_memory.cuda",
}
UNITS = {
    **dict.fromkeys((n for n in FIGURES if "D_" in n and "rho" not in n), "%"),
    **dict.fromkeys(("relearn", "retrained relearn"), "steps"),
    **dict.fromkeys(("JS forget", "JS floor"), "bits"),
    **dict.fromkeys((n for n in FIGURES if n.startswith("probe")), "points"),
    **dict.fromkeys(("probe score", "retrained probe score"), "%"),
    "audits inside": "share",
    **dict.fromkeys(("s", "retrained s"), "seconds"),
}
DAGGER = "†"  # after whatever shows a run that real test accuracies steered
TOLD = "told inside"  # a run's share of the audits that can tell networks apart
LINE = ("dataset", "model", "method", "access", "forget", "seed", "status")
_ABOUT = ("directory", "command", "oracle", "censored", "alarms", TOLD)
_IDENTITY = ("status", "dataset", "model", "method", "access", "forget", "seed", "error")
# Config keys in which the runs of one cell may differ without being another setting.
_DRAWN = (
    *("seed", "training.seed", "outputs", "run_dir", "force", "objective", "stack"),
    *("launch", "checkpoint_every", "hardware.threads"),
)


def load(folders: Sequence[Path]) -> pd.DataFrame:
    """One row for every record under the folders, those of runs that were cut off among them.

    In place of a folder, a `.csv` that `--runs-csv` wrote: its lines, with the keys that it has.

    Columns are `directory`, `command`, `oracle`, `censored` (a count of relearning hit its
    limit), `alarms` (their names, with semicolons between), the record's identity (`status`,
    `method`, ...), every config key with its dots (`method.start`), and every figure of
    `FIGURES`. The status is complete, failed, or unfinished: cut off, or still running.

    Raises:
        ConfigError: if a folder holds no record, or a file is no such table.
    """
    rows: list[dict[str, Any]] = []
    known: set[Path] = set()  # a folder may be given twice, or lie in another
    for folder in folders:
        if folder.suffix == ".csv":
            rows += [] if folder.resolve() in known else _lines(folder)
            known.add(folder.resolve())
            continue
        found = [run for path in sorted(_records(folder)) if (run := _still_there(path))]
        found = [run for run in found if run["status"] == "unfinished" or not _hidden(run)]
        if not found:
            missing = "holds no record.json" if folder.exists() else "is not there"
            raise ConfigError("outputs", folder, missing)
        places = [Path(run["directory"]).resolve() for run in found]
        rows += [run for run, place in zip(found, places, strict=True) if place not in known]
        known.update(places)
    return pd.DataFrame(rows).astype(dict.fromkeys(FIGURES, float))


def _lines(path: Path) -> list[dict[str, Any]]:
    """Runs as `--runs-csv` wrote them; what a table of long ago does not say is taken as not so."""
    try:
        table = pd.read_csv(path, dtype={"forget": str})
    except (OSError, ValueError) as error:
        raise ConfigError("outputs", path, f"cannot be read ({error})") from error
    missing = [key for key in LINE if key not in table]
    if missing:
        raise ConfigError("outputs", path, f"not written by --runs-csv: it has no {missing[0]}")
    unsaid: dict[str, Any] = {"oracle": table["access"] == "oracle", "censored": False}
    unsaid["alarms"] = ""
    unsaid |= {"directory": str(path), "command": None, "error": None, **dict.fromkeys(FIGURES)}
    table = table.assign(**{key: v for key, v in unsaid.items() if key not in table})
    table["alarms"] = table["alarms"].astype(object).fillna("")
    return [{str(key): value for key, value in line.items()} for line in table.to_dict("records")]


def _records(folder: Path) -> Iterator[Path]:
    """Every record, without looking into hidden folders other than those of unfinished runs."""
    for directory, folders, files in os.walk(folder):
        folders[:] = [f for f in folders if not f.startswith(".") or f.endswith(".partial")]
        if "record.json" in files:
            yield Path(directory, "record.json")


def _still_there(path: Path) -> dict[str, Any] | None:
    """A record's row, None if the run has ended meanwhile, and its folder got another name.

    What cannot be read as a record is named, and left out.
    """
    try:
        return row(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        say(f"{path}: no record that could be read ({' '.join(str(error).split())}); left out")
        return None


def _hidden(run: Mapping[str, Any]) -> bool:
    return Path(run["directory"]).name.startswith(".")


def row(path: Path) -> dict[str, Any]:
    """What a table can show of the record at a path."""
    record = json.loads(path.read_text())
    known: dict[str, Any] = {"directory": str(path.parent), "command": record.get("command")}
    known |= flat(record.get("config") or {})
    known |= {key: _shown(record.get(key)) for key in _IDENTITY}
    known["oracle"] = bool(record.get("oracle")) or record.get("access") == "oracle"
    known["censored"] = bool((record.get("relearn") or {}).get("censored"))
    known["alarms"] = "; ".join(line.split(":")[0] for line in record.get("alarms") or [])
    return known | {name: _figure(record, place) for name, place in FIGURES.items()}


def _figure(record: Mapping[str, Any], path: str) -> float | None:
    value: Any = record
    for part in path.split("."):
        if isinstance(value, list):
            value = value[int(part)] if value else None
        else:
            value = value.get(part) if isinstance(value, dict) else None
    return None if value is None else float(value)


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values under dotted keys, lists as text: a config as the columns of a row."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = _shown(value)
    return found


def _shown(value: Any) -> Any:
    """Lists as text, so that they can be compared and grouped."""
    return ",".join(map(str, value)) if isinstance(value, list) else value


def check_keys(runs: pd.DataFrame, option: str, keys: Sequence[str]) -> None:
    """Raise `ConfigError` for a key that no record has, or for a figure, which groups nothing."""
    for key in keys:
        if key in FIGURES and option != "where":
            raise ConfigError(option, key, "is a figure, not a key")
        if key not in runs:
            near = difflib.get_close_matches(key, [str(c) for c in runs.columns], n=5, cutoff=0.4)
            raise ConfigError(option, key, f"no record has it; near it are {', '.join(near)}")


def referenced(figures: Sequence[str]) -> list[str]:
    """The figures, each followed by the retrained model's where there is one."""
    found = []
    for name in figures:
        found.append(name)
        reference = f"retrained {name}"
        if reference in FIGURES and reference not in figures:
            found.append(reference)
    return found


def only(runs: pd.DataFrame, conditions: Sequence[str]) -> pd.DataFrame:
    """The runs that meet every `KEY=VALUE`; `null` is a key that is off.

    Raises:
        ConfigError: for a condition that is none, names no key, or leaves nothing.
    """
    for condition in conditions:
        key, sign, value = condition.partition("=")
        if not sign:
            raise ConfigError("where", condition, "must be KEY=VALUE")
        check_keys(runs, "where", [key])
        texts = runs[key].map(as_text)
        met = texts == _plain(value)
        if not met.any():
            allowed = ", ".join(sorted(set(texts)))
            raise ConfigError("where", condition, f"no run is left; there are {allowed}")
        runs = runs[met]
    return runs


def _plain(value: str) -> str:
    """A typed value as `as_text` has it."""
    value = value.strip("[]")
    try:
        return as_text(float(value)) if "." in value else value
    except ValueError:
        return value


def as_text(value: Any) -> str:
    """A config value as a table and the command line write it."""
    if value is None or value != value:  # NaN, which pandas puts for None
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def mixed(runs: pd.DataFrame, keys: Sequence[str]) -> list[str]:
    """Config keys in which complete runs of one group differ, though the group is one setting."""
    complete = runs[runs["status"] == "complete"]
    about = {*FIGURES, *_IDENTITY, *_DRAWN, *_ABOUT, *keys}
    candidates = [
        key
        for key in map(str, complete.columns)
        if key not in about
        and not key.startswith("tracking.")
        and complete[key].map(as_text).nunique() > 1
    ]
    if not candidates:
        return []
    texts = complete[candidates].map(as_text)
    groups = texts.groupby([complete[key].map(as_text) for key in keys])
    differing = groups.nunique().max() > 1
    return [key for key in candidates if differing[key]]
