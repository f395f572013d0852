"""The ablations: each is one command, planned at its full size and run at its quick one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.command_line import Cli, record_in
from tests.helpers.paths import CONF

FOLDER = CONF / "experiment" / "ablation"
FULL = {
    "entropy": 250,
    "entropy_definitions": 480,
    "frontier": 270,
    "gate": 150,
    "inconsistency": 1440,
    "inversion": 360,
    "noise": 480,
    "regrowth": 480,
    "stopping": 75,
    "stopping_late": 15,
}


def test_each_ablation_has_a_quick_size() -> None:
    names = {path.stem for path in FOLDER.glob("*.yaml")} - {"quick"}
    assert names == {*FULL, *(f"{name}_quick" for name in FULL)}


@pytest.mark.parametrize("name", FULL)
def test_the_full_size_is_all_valid_runs(cli: Cli, name: str) -> None:
    done = cli(f"experiment=ablation/{name}", "launch=plan")
    assert done.returncode == 0, done.stderr
    assert f"{FULL[name]} runs: {FULL[name]} new" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", FULL)
def test_the_quick_size_runs(cli: Cli, tmp_path: Path, name: str) -> None:
    done = cli(f"experiment=ablation/{name}_quick", "hardware.threads=1")
    assert done.returncode == 0, done.stderr
    found = [record_in(path.parent) for path in tmp_path.rglob("record.json")]
    assert len(found) == done.stdout.count("Files: ") >= 2
    assert {r["status"] for r in found} == {"complete"}
    if name == "inconsistency":
        assert {r["oracle"] for r in found} == {True, False}
