"""What the papers of methods that need data claim, on digits, where it holds here.

Settings were chosen on classes 1 and 3 with seeds 0 and 1; these runs are of class 1, seed 0.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from command_line import command, record_in

ARGUMENTS = ["forget=[1]", "evaluation=quick", "hardware=cpu", "hardware.threads=1"]
LENET = ["model=lenet"]
ALLCNN = ["model=allcnn", "model.width=0.25"]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all: the teacher and the retrained reference are trained once a network."""
    return tmp_path_factory.mktemp("outputs")


def figures(outputs: Path, method: str, model: list[str], *arguments: str) -> dict[str, Any]:
    """Test accuracies in percent, by network and by kind of class."""
    place = outputs / "-".join([method, *model, *arguments]).replace("/", "_")
    done = subprocess.run(
        command(
            f"method={method}",
            *model,
            *ARGUMENTS,
            *arguments,
            "tracking.mode=disabled",
            f"outputs={outputs}",
            f"run_dir={place}",
        ),
        cwd=outputs,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    accuracy = record_in(place)["accuracy"]
    return {network: seen["test"] for network, seen in accuracy.items() if seen}


# Of each method: its network, the most of D_f that may stay and of D_r that may go, in percent.
CLAIMS: dict[str, tuple[list[str], float, float]] = {
    "amnesiac": (LENET, 5, 2),
    "bad_teacher": (LENET, 10, 2),
    "salun": (LENET, 5, 2),
    "scrub": (LENET, 5, 2),
    "ssd": (LENET, 5, 2),
    "subspace": (ALLCNN, 5, 1),
    "unsir": (LENET, 5, 3),
}


@pytest.mark.slow
@pytest.mark.parametrize("method", sorted(CLAIMS))
def test_the_class_goes_and_the_others_stay(outputs: Path, method: str) -> None:
    """D_f near the retrained model's, which is 0, and D_r near the original's."""
    model, most_forget, most_lost = CLAIMS[method]
    seen = figures(outputs, method, model)
    assert seen["original"]["forget"] > 90
    assert seen["retrained"]["forget"] == 0
    assert seen["unlearned"]["forget"] <= most_forget
    assert seen["unlearned"]["retain"] >= seen["original"]["retain"] - most_lost


@pytest.mark.slow
def test_fine_tuning_keeps_the_others_and_forgets_by_and_by(outputs: Path) -> None:
    """What it is a baseline for: the class fades with the rate, and not at once."""
    slow, fast = (
        figures(outputs, "fine_tune", LENET, f"method.learning_rate={rate}")
        for rate in (0.001, 0.05)
    )
    for seen in (slow, fast):
        assert seen["unlearned"]["retain"] >= seen["original"]["retain"] - 2
    assert slow["unlearned"]["forget"] > fast["unlearned"]["forget"]
