"""Run directories as the runner leaves them, made up: records, histories and pictures."""

import copy
import csv
import io
import json
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from zlib import crc32

import matplotlib.image
import numpy as np
import pandas as pd

from unlearn.report.__main__ import main

MODELS = ("original", "retrained", "unlearned")
CONFIG: dict[str, Any] = {
    "seed": 0,
    "forget": [0],
    "dataset": {"name": "digits", "shape": [1, 8, 8]},
    "method": {"name": "gkt", "start": 0.95, "target": "masked"},
    "filter": {"gate": None, "entropy": None},
    "tracking": {"mode": "offline"},
}


def put(outputs: Path, *, at: Mapping[str, Any] | None = None, **changes: Any) -> Path:
    """Write one run directory.

    Args:
        outputs: the folder that gets it.
        at: values of the record by dotted path.
        changes: D_r, seed, forget, `config` (values by dotted key), or top-level keys of the
            record.
    """
    config, words = copy.deepcopy(CONFIG), changes.pop("config", {})
    for key, value in words.items():
        _set(config, key, value)
    typed = [pair for pair in words.items() if pair[0] != "method.name"]
    seed, forget = changes.pop("seed", 0), changes.pop("forget", [0])
    config |= {"seed": seed, "forget": forget}
    train, test = {"retain": 99.0, "forget": 0.0}, {"retain": changes.pop("D_r", 97.0)}
    directory = outputs / f"run-{len(list(outputs.glob('*')))}"
    record = {
        "status": "complete",
        "config_hash": f"{crc32(str(directory).encode()):016x}",  # each folder is a run
        "dataset": "digits",
        "model": "lenet",
        "method": config["method"]["name"],
        "access": "none",
        "forget": forget,
        "seed": seed,
        "command": [
            f"method={config['method']['name']}",
            f"forget={forget}",
            f"seed={seed}",
            *(f"{key}={'null' if value is None else value}" for key, value in typed),
        ],
        "config": config,
        "accuracy": {n: {"train": {**train}, "test": {**test, "forget": 0.0}} for n in MODELS},
        "relearn": {"unlearned_steps": 6.0, "retrained_steps": 12.0, "ain": 0.5},
        "membership": {"unlearned": {"auc": 0.5}, "retrained": {"auc": 0.6}},
        "divergence": {"retain": 0.1, "forget": 0.2},
        "onset": {"largest": 0.0},
        "seconds": {"unlearn": 3.0},
        "error": None,
        **changes,
    }
    for path, value in (at or {}).items():
        _set(record, path, value)
    directory.mkdir(parents=True)
    (directory / "record.json").write_text(json.dumps(record))
    return directory


def _set(values: dict[str, Any], path: str, value: Any) -> None:
    *parts, last = path.split(".")
    for part in parts:
        values = values.setdefault(part, {})
    values[last] = value


def add_history(run: Path, forget: Sequence[float], retain: Sequence[float] = ()) -> None:
    """history.parquet: two epochs of training, then steps of which every other is looked at."""
    rows: list[dict[str, Any]] = [{"stage": "teacher", "step": e, "loss": 1.0} for e in (1, 2)]
    for index, value in enumerate(forget):
        step, kept = 2 * index + 1, retain[index] if retain else 90.0 + index
        rows.append({"stage": "transfer", "step": step, "loss": 1.0})
        seen = {"retain": kept, "forget": value}
        rows.append({"stage": "transfer", "step": step + 1, "loss": 1.0, **seen})
    pd.DataFrame(rows).to_parquet(run / "history.parquet", index=False)


def add_pictures(run: Path) -> None:
    """figures/samples.png and figures/inversion_attack.png."""
    (run / "figures").mkdir()
    for name in ("samples", "inversion_attack"):
        grey = np.linspace(0, 1, 64).reshape(8, 8)
        matplotlib.image.imsave(run / "figures" / f"{name}.png", grey, cmap="gray")


def sweep(outputs: Path) -> None:
    """Two methods, three thresholds of which one is off, two classes, three seeds."""
    random = np.random.default_rng(0)
    for method in ("gkt", "noise"):
        for entropy in (0.5, 1.0, None):
            for forget in ([0], [1]):
                for seed in range(3):
                    config = {"method.name": method, "filter.entropy": entropy}
                    D_r = float(random.uniform(80, 99))
                    run = put(outputs, seed=seed, forget=forget, D_r=D_r, config=config)
                    add_history(run, random.uniform(0, 9, 4))
                    add_pictures(run)


def report(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """`unlearn-report` in this process, which spares each call the start of Python and pandas."""
    typed, code = [str(word) for word in words], 0
    out, errors = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(errors):
        try:
            main(typed)
        except SystemExit as stop:
            code = int(stop.code or 0)
    return subprocess.CompletedProcess(typed, code, out.getvalue(), errors.getvalue())


def rows(*words: str | Path) -> list[dict[str, str]]:
    """The rows that `unlearn-report` prints, each by the headings of its columns."""
    done = report(*words, "--format", "csv")
    assert done.returncode == 0, done.stderr
    return list(csv.DictReader(io.StringIO(done.stdout)))
