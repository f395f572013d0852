"""The ablations: each is one command, planned at its full size and run small."""

from pathlib import Path

import pytest

from tests.helpers.command_line import Cli, record_in
from tests.helpers.paths import CONF

FOLDER = CONF / "experiment" / "ablation"
# Runs of the whole grid, and of the small design that holds each value once.
RUNS = {
    "entropy": (250, 5),
    "entropy_definitions": (480, 4),
    "frontier": (270, 6),
    "gate": (150, 5),
    "inconsistency": (1440, 4),
    "inversion": (360, 3),
    "noise": (480, 2),
    "regrowth": (480, 2),
    "stopping": (75, 5),
    "stopping_late": (15, 1),
}


def test_every_ablation_is_here() -> None:
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(RUNS)


@pytest.mark.parametrize("name", RUNS)
def test_the_full_size_is_all_valid_runs(cli: Cli, name: str) -> None:
    done = cli(f"experiment=ablation/{name}", "launch=plan")
    assert f"{RUNS[name][0]} runs: {RUNS[name][0]} new" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_the_small_design_runs(cli: Cli, tmp_path: Path, name: str) -> None:
    done = cli(f"experiment=[ablation/{name},quick]", "hardware.threads=1")
    found = [record_in(path.parent) for path in tmp_path.rglob("record.json")]
    assert len(found) == done.stdout.count("Files: ") == RUNS[name][1]
    assert {r["status"] for r in found} == {"complete"}
    if name == "inconsistency":
        assert {r["oracle"] for r in found} == {True, False}
