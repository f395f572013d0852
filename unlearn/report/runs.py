"""Records as one table: a row for each run, a column for each config key and each figure."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from unlearn.errors import ConfigError
from unlearn.report.figures import FIGURES, add_figures
from unlearn.report.reading import read_folder, read_lines

DAGGER = "†"  # marks whatever includes a run that real test accuracies steered
TOLD = "told inside"  # share of the discriminating audits in which a run lies inside
_SETTINGS = (
    *("dataset.", "evaluation.", "filter.", "hardware.", "method.", "model.", "training."),
    "versions.",
)
# Keys in which the runs of one cell may differ: they do not decide a figure.
_DRAWN = (
    *("training.seed", "hardware.threads", "dataset.memory"),
    *("versions.python", "versions.wandb", "versions.hydra-core"),
)


def load(
    folders: Sequence[Path], figures: Sequence[str] = (), optional: Sequence[str] = ()
) -> pd.DataFrame:
    """Read the records of all runs under some folders, those of unfinished runs included.

    Args:
        folders: folders of runs. A `.csv` file that `--runs-csv` wrote stands for the runs that
            are its lines.
        figures: short names and dotted paths of the figures that are needed beside `FIGURES`.
        optional: dotted paths of figures that get a column if a run has them.

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
    # Files come last: the folder of a run says more than its line.
    for place in sorted(folders, key=_is_file):
        found = (
            read_lines(place) if _is_file(place) else [*read_folder(place, (*figures, *optional))]
        )
        if not found:
            what = "line" if _is_file(place) else "record.json"
            missing = f"holds no {what} that can be read" if place.exists() else "is not there"
            raise ConfigError("outputs", place, missing)
        rows += found
    runs = pd.DataFrame(rows).astype(dict.fromkeys(FIGURES, float))
    return add_figures(_drop_copies(runs), figures)


def _is_file(path: Path) -> bool:
    return path.suffix == ".csv" and not path.is_dir()


def _drop_copies(runs: pd.DataFrame) -> pd.DataFrame:
    """Keep each run once, of copies of its folder and lines in CSV files.

    Copies agree in config hash, status, D_r and seconds. A file of an older version has no
    hashes; there the exact seconds tell the runs apart.
    """
    told = runs[["dataset", "model", "method", "forget", "seed", "status"]]
    told = told.join(runs[["D_r", "s"]].map("{:.12g}".format))
    hashes = runs.get("config_hash", pd.Series(None, runs.index, dtype=object))
    timed = runs["s"].notna()
    shared = hashes.groupby([told[key] for key in told], dropna=False).transform("first")
    known = hashes.fillna(shared.where(timed))
    copies = told.assign(config_hash=known).duplicated() & (known.notna() | timed)
    return runs[~copies].reset_index(drop=True)


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
