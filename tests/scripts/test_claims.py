"""The papers' claims: who keeps them, and in how many runs."""

from pathlib import Path

import pandas as pd

from tests.helpers.command_line import run_program
from tests.helpers.paths import ROOT

COLUMNS = ["dataset", "model", "method", "access", "forget", "seed", "status"]


def lines(path: Path, rows: list[tuple[str, int, str, float, float]]) -> Path:
    """Runs of a method and seed, their D_f and D_r; the retrained model's D_r is 98."""
    table = pd.DataFrame(
        [
            ("digits", "lenet", method, "all", "0", seed, status, D_f, D_r, 98.0)
            for method, seed, status, D_f, D_r in rows
        ],
        columns=[*COLUMNS, "D_f", "D_r", "retrained D_r"],
    )
    table.to_csv(path, index=False)
    return path


def test_a_claim_holds_if_four_runs_of_five_keep_it(tmp_path: Path) -> None:
    runs = lines(
        tmp_path / "runs.csv",
        [
            *(("ssd", seed, "complete", 1.0, 97.5) for seed in range(4)),
            ("ssd", 4, "complete", 90.0, 97.5),
            *(("salun", seed, "complete", 0.0, 97.0) for seed in range(3)),
            ("salun", 3, "complete", 0.0, 95.5),
            ("salun", 4, "failed", 0.0, 97.0),
            ("scrub", 0, "failed", 0.0, 97.0),
            ("regrow", 0, "complete", 0.0, 98.0),
        ],
    )
    done = run_program(ROOT / "scripts" / "claims.py", runs)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()]
    found = {row[2]: row for row in rows[2:]}
    assert set(found) == {"ssd", "salun"}
    assert found["ssd"][-2:] == ["4 of 5", "yes"]
    assert found["ssd"][6:8] == ["18.80 ± 49.42", "-0.50 ± 0.00"]
    assert found["salun"][-2:] == ["3 of 4", "no"], "one lost more than two points of D_r"
