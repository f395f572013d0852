"""The rule by which a method gets settings for a data set, and that conf/tuned follows it."""

import subprocess
from pathlib import Path

import pandas as pd
import pytest
from omegaconf import OmegaConf

from tests.helpers.command_line import run_program
from tests.helpers.paths import ROOT

OWN = 0.00005  # of conf/method/delete.yaml
COLUMNS = ["method.learning_rate", "forget", "status", "D_r", "D_f"]


def taken(csv: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    return run_program("scripts/choose_settings.py", csv, folder=ROOT, code=code)


def cells(printed: str) -> dict[tuple[str, str, str], dict[str, str]]:
    """The table's rows by data set, network and method."""
    rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in printed.splitlines()]
    named = [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]
    return {(row["dataset"], row["model"], row["method"]): row for row in named}


def delete_tried(path: Path, tries: list[tuple[float, int, str, float, float]]) -> Path:
    frame = pd.DataFrame(tries, columns=COLUMNS).assign(
        dataset="digits", model="lenet", method="delete", access="forget", seed=0
    )
    frame.to_csv(path, index=False)
    return path


def test_the_best_over_classes_is_taken_if_tried_on_all_of_them(tmp_path: Path) -> None:
    tries = [
        *((OWN, forget, "complete", 90.0, 10.0) for forget in (1, 3)),
        (0.001, 1, "complete", 99.0, 0.0),
        (0.001, 3, "complete", 99.0, 60.0),
        *((0.002, forget, "complete", 95.0, 5.0) for forget in (1, 3)),
        (0.003, 1, "complete", 100.0, 0.0),
        (0.004, 1, "complete", 100.0, 0.0),
        (0.004, 3, "failed", 100.0, 0.0),
    ]
    done = taken(delete_tried(tmp_path / "tries.csv", tries))
    row = cells(done.stdout)["digits", "lenet", "delete"]
    assert row["chosen"] == "learning_rate=0.002"
    assert (row["default score"], row["chosen score"], row["tries"]) == ("80.0", "90.0", "4")


@pytest.mark.parametrize(("better", "expected"), [(0.75, "default"), (1.25, "learning_rate=0.002")])
def test_less_than_a_point_is_not_taken(tmp_path: Path, better: float, expected: str) -> None:
    tries = [(OWN, 1, "complete", 90.0, 0.0), (0.002, 1, "complete", 90.0 + better, 0.0)]
    done = taken(delete_tried(tmp_path / "tries.csv", tries))
    assert cells(done.stdout)["digits", "lenet", "delete"]["chosen"] == expected


def test_what_was_not_tried_as_it_is_cannot_be_compared(tmp_path: Path) -> None:
    tries = delete_tried(tmp_path / "tries.csv", [(0.002, 1, "complete", 90.0, 0.0)])
    done = taken(tries, code=2)
    (line,) = done.stderr.splitlines()
    assert line.startswith("choose_settings: digits/lenet/delete=learning_rate=5e-05: ")


def named(settings: str) -> dict[str, str]:
    return dict(word.split("=") for word in settings.split(", "))


def test_conf_tuned_holds_what_the_published_tries_say() -> None:
    done = taken(ROOT / "docs" / "results" / "tuned.csv")
    told = {key: row for key, row in cells(done.stdout).items() if row["chosen"] != "default"}
    tuned = ROOT / "conf" / "tuned"
    files = {path.relative_to(tuned).with_suffix("").parts: path for path in tuned.rglob("*.yaml")}
    assert told
    assert set(files) == set(told)
    for key, row in told.items():
        held = OmegaConf.to_container(OmegaConf.load(files[key]))
        changed = {str(name): f"{value:g}" for name, value in held.items()}
        assert named(row["default settings"]) | changed == named(row["chosen"])
