"""Reads runs from folders and CSV files. What cannot be read is named on stderr and left out."""

from __future__ import annotations

import csv
import io
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from unlearn.errors import ConfigError, say
from unlearn.escape import printable, read_csv_cell
from unlearn.files import read_file, report_damage
from unlearn.records.places import failed_directory, old_directory, partial_directory
from unlearn.records.record import RECORD, STATUSES
from unlearn.report.figures import FIGURES, read_figures

LINE = ("dataset", "model", "method", "access", "forget", "seed", "status")
NOTED = ("oracle", "censored", "alarms", "forget_names", "config_hash", "versions.torch")
# What every record holds, and of which type.
_KINDS: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("status", "dataset", "model", "method"), str),
    **{
        "config_hash": str,
        "forget": list,
        "seed": int,
        "config": dict,
        "command": (list, type(None)),
    },
}
_HIDDEN = (".partial", ".old")
_TRIES = 3
_SETTLED = 10.0  # seconds after which the names in a folder count as settled

Row = dict[str, Any]


def read_folder(folder: Path, figures: Sequence[str]) -> Iterator[Row]:
    """Yield the runs in a folder and in the folders below it, linked ones too.

    A run that is renamed meanwhile is found under its new name.

    Args:
        folder: The folder.
        figures: Figures that are needed beside `FIGURES`.
    """
    started = time.time()
    places, said = {_strip(folder.absolute())}, dict[str, None]()
    # A folder that is listed while names in it change can miss some: it is listed again.
    for _ in range(_TRIES):
        if _find_places(folder, places, said) < started - _SETTLED:
            break
    for line in said:
        say(f"{line}; left out")
    for place in sorted(places):
        yield from _read_place(place, figures)


def _find_places(folder: Path, places: set[Path], said: dict[str, None]) -> float:
    """Add run directories to `places`, and what is left out to `said`.

    Returns:
        When the names in one of the folders changed last, in seconds since 1970.
    """
    walked: set[tuple[int, int]] = set()  # links can lead to a folder twice, or in circles
    newest = 0.0

    def note(error: OSError) -> None:
        if isinstance(error, FileNotFoundError):  # renamed since
            places.add(_strip(Path(error.filename)))
        else:
            said[f"{error.filename}: cannot be read ({error.strerror})"] = None

    for name, folders, files in os.walk(folder, onerror=note, followlinks=True):
        directory = Path(name)
        try:
            seen = directory.stat()
        except FileNotFoundError:
            places.add(_strip(directory))
            continue
        if (seen.st_dev, seen.st_ino) in walked:
            folders.clear()
            continue
        walked.add((seen.st_dev, seen.st_ino))
        newest = max(newest, seen.st_mtime)
        if RECORD in files:
            places.add(_strip(directory))
        elif "history.parquet" in files:
            said[f"{directory}: holds no {RECORD}"] = None
        for path in (directory / name for name in folders if name.startswith(".")):
            if path.name.endswith(_HIDDEN):
                places.add(_strip(path))
            elif (path / RECORD).is_file():
                said[f"{path}: is a hidden folder"] = None
        folders[:] = sorted(n for n in folders if not n.startswith(".") or n.endswith(_HIDDEN))
    return newest


def _strip(directory: Path) -> Path:
    """Return the run directory to which a folder belongs, whatever its name is for the moment."""
    name = directory.name
    if name.startswith(".") and name.endswith(_HIDDEN):
        return directory.with_name(name[1:].rpartition(".")[0])
    return directory.with_name(name.removesuffix(".failed")) if name else directory


def _read_place(directory: Path, figures: Sequence[str]) -> list[Row]:
    """Return the run of a run directory, and attempts at it that were cut off or failed.

    The folders are tried in the order in which a run is renamed, so that none is missed.
    """
    if not directory.name:
        return []
    names = (partial_directory, Path, old_directory, failed_directory)
    for _ in range(_TRIES):
        found = [_read_run(name(directory), figures) for name in names]
        if any(found):
            break
    work, own, old, failed = found
    done = next((run for run in found[:3] if run and run["status"] == "complete"), None)
    return [run for run in (done or own or old, work if work is not done else None, failed) if run]


def _read_run(directory: Path, figures: Sequence[str]) -> Row | None:
    return read_file(directory / RECORD, lambda path: _make_row(path, figures))


def _make_row(path: Path, figures: Sequence[str]) -> Row:
    record = json.loads(path.read_text(encoding="utf-8"))
    for key, kind in _KINDS.items():
        if not isinstance(record.get(key), kind):
            raise ValueError(f"no record: it has no {key}")
    if record["status"] not in STATUSES:
        raise ValueError(f"no record: its status is {record['status']}")
    row: Row = {"directory": str(path.parent), "command": None}
    if record.get("command") is not None:
        row["command"] = [printable(word) for word in record["command"]]
    row |= flatten(record["config"]) | flatten({"versions": record.get("versions") or {}})
    row |= {key: _show(record.get(key)) for key in (*LINE, "error", "config_hash")}
    row["forget_names"] = _show(record.get("forget_names") or record["forget"])
    row["oracle"] = bool(record.get("oracle")) or record.get("access") == "oracle"
    row["censored"] = bool((record.get("relearn") or {}).get("censored"))
    row["alarms"] = "; ".join(printable(a.split(":")[0]) for a in record.get("alarms") or [])
    return row | read_figures(record, figures)


def flatten(values: Mapping[str, Any], prefix: str = "") -> Row:
    """Nested values under dotted keys; lists become text."""
    found: Row = {}
    for key, value in values.items():
        if isinstance(value, dict):
            found |= flatten(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = _show(value)
    return found


def _show(value: Any) -> Any:
    """A list as text, so that it can be compared and grouped; text as one line."""
    if isinstance(value, list):
        value = ",".join(map(str, value))
    return printable(str(value)) if isinstance(value, str | dict) else value


def read_lines(path: Path) -> list[Row]:
    """Return the runs of a CSV file that `--runs-csv` wrote; each bad line is named and left out.

    Columns that older versions did not write get a neutral value.

    Raises:
        ConfigError: If the file cannot be read, or is no such file.
    """
    try:
        if path.exists() and not path.is_file():
            raise ValueError("no regular file")
        table = _parse_lines(path, path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise ConfigError("outputs", path, f"cannot be read ({error})") from error
    needed = [key for key in LINE if key != "access"]
    missing = [key for key in needed if key not in table]
    if missing:
        raise ConfigError("outputs", path, f"not written by --runs-csv: it has no {missing[0]}")
    numbers = [key for key in (*FIGURES, "seed") if key in table]
    flags = [key for key in ("oracle", "censored") if key in table]
    values = table[numbers].apply(pd.to_numeric, errors="coerce")
    table[flags] = table[flags].astype(str)
    bad = (values.isna() & table[numbers].notna()).any(axis=1) | table[needed].isna().any(axis=1)
    bad |= ~table["status"].isin(STATUSES) | ~table[flags].isin(["True", "False"]).all(axis=1)
    for line in table.index[bad]:
        report_damage(path, f"line {line} is no run", "left out")
    table[numbers], table[flags] = values, table[flags] == "True"
    table = table[~bad].astype({"seed": int})
    absent: Row = {"access": None, "oracle": table.get("access", "") == "oracle"}
    absent |= {"censored": False, "alarms": "", "directory": str(path), "command": None}
    absent |= {"forget_names": table["forget"], "error": None, **dict.fromkeys(FIGURES)}
    table = table.assign(**{key: v for key, v in absent.items() if key not in table})
    table["forget_names"] = table["forget_names"].fillna(table["forget"])
    table["alarms"] = table["alarms"].astype(object).fillna("")
    return [{str(key): value for key, value in line.items()} for line in table.to_dict("records")]


def _parse_lines(path: Path, text: str) -> pd.DataFrame:
    """Return the whole lines of a CSV file, indexed by their numbers in the file."""
    whole, end, cut = text.rpartition("\n")
    if cut:
        report_damage(path, "its last line is cut off", "that line is left out")
    reader = csv.reader(io.StringIO(whole + end, newline=""), strict=True)
    found: dict[int, list[str]] = {}
    try:
        for cells in reader:
            if len(cells) == len(next(iter(found.values()), cells)):
                found[reader.line_num] = [read_csv_cell(cell) for cell in cells]
            elif cells:
                report_damage(path, f"line {reader.line_num} has {len(cells)} cells", "left out")
    except csv.Error as error:
        report_damage(path, f"line {reader.line_num}: {error}", "it and all after are left out")
    lines = io.StringIO()
    csv.writer(lines).writerows(found.values())
    text_keys = dict.fromkeys(("forget", "forget_names", "config_hash", "versions.torch"), str)
    table = pd.read_csv(io.StringIO(lines.getvalue()), dtype=text_keys)
    return table.set_axis([*found][1:])
