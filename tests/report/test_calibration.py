"""The calibration of the audits, from records made up so that each audit tells something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.helpers.synthetic import put, report


def entry(original: float, masked: float, unlearned: float, *left_out: bool) -> dict[str, Any]:
    values = {"original": original, "masked": masked, "unlearned": unlearned, "retrained": 0.5}
    inside = 0 <= unlearned <= 1
    limits = {"low": 0.0, "high": 1.0, "inside": inside, "left_out": list(left_out or [True] * 3)}
    return {**values, "references": [0.4, 0.6], **limits}


def audits(shift: float, unlearned: float) -> dict[str, Any]:
    return {
        "sees/both": entry(5 + shift, -5, unlearned),
        "sees/original": entry(5 + shift, 0.5, 0.5),
        "sees/nothing": entry(0.5 + shift / 100, 0.5, 0.5),
        "fails/retrained": entry(5 + shift, -5, 0.5, False, True, True),
        "has/no-spread": entry(5, 5, 5) | dict.fromkeys(("low", "high", "inside", "left_out")),
    }


def test_the_matrix_counts_each_set_of_networks_once(tmp_path: Path) -> None:
    """Two methods share the networks of one seed; another seed has its own, not audited in one."""
    ours, hidden = {"method.name": "gkt"}, {"method.name": "masked_logit"}
    last = audits(1, 0.5)
    last["sees/original"] |= {"masked": None, "left_out": None}
    last["sees/late"] = entry(0.5, None, 0.5)  # type: ignore[arg-type]
    put(tmp_path, audits=audits(0, 0.5), config=ours)
    put(tmp_path, audits=audits(0, -5), config=hidden)
    put(tmp_path, audits=last, config=ours, seed=1)
    put(tmp_path, status="failed", error="no", audits=audits(2, 0.5), config=ours, seed=2)
    done = report("calibration", tmp_path, "--format", "csv")
    assert done.stdout.splitlines() == [
        "audit,sets,retrained passes,original fails,masked fails,tells,"
        "gkt inside,masked_logit inside",
        "sees/both,2,100,100,100,original and masked,100,0",
        "sees/original,2,100,100,0,original,100,100",
        "sees/nothing,2,100,0,0,cannot tell,100,100",
        "fails/retrained,2,67,100,100,cannot tell,100,100",
        "sees/late,1,100,0,-,cannot tell,100,-",
    ]


def test_runs_without_audits_are_refused(tmp_path: Path) -> None:
    put(tmp_path)
    done = report("calibration", tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "evaluation=audit" in done.stderr
