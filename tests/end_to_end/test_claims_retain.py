"""What the papers of methods that need data claim, on digits, where it holds here.

Settings were chosen on classes 1 and 3 with seeds 0 and 1, and these runs are among them.
"""

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.command_line import Warm, record_in

ARGUMENTS = ["evaluation=quick", "hardware=cpu", "hardware.threads=1"]
LENET = ["model=lenet", "forget=[1]", "seed=0"]
ALLCNN = ["model=allcnn", "model.width=0.25", "forget=[1]", "seed=0"]
ALLCNN_3 = ["model=allcnn", "model.width=0.25", "forget=[3]", "seed=1"]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all: the teacher and the retrained reference are trained once a network."""
    return tmp_path_factory.mktemp("outputs")


def figures(warm: Warm, outputs: Path, method: str, setting: list[str]) -> dict[str, Any]:
    """Test accuracies in percent, by network and by kind of class."""
    words = [f"method={method}", *setting, *ARGUMENTS, "tracking.mode=disabled"]
    done = warm([*words, f"outputs={outputs}", f"run_dir={outputs / method}"], outputs)
    assert done.returncode == 0, done.stderr
    accuracy = record_in(outputs / method)["accuracy"]
    return {network: seen["test"] for network, seen in accuracy.items() if seen}


# Of each method: its network, the most of D_f that may stay and of D_r that may go, in percent.
CLAIMS: dict[str, tuple[list[str], float, float]] = {
    "amnesiac": (LENET, 2, 2),
    "bad_teacher": (ALLCNN_3, 2, 2),
    "eu_k": (LENET, 2, 2),
    "modhifi": (ALLCNN, 2, 16),  # the paper's VGG-19 lost 15.7
    "pour_p": (LENET, 0, 0),  # on AllCNN it needs `method.centred=true`
    "pour_d": (LENET, 6, 1),
    "salun": (ALLCNN, 2, 2),
    "scrub": (ALLCNN, 2, 2),
    "ssd": (LENET, 2, 1),
    "subspace": (ALLCNN, 2, 1),
    "unsir": (LENET, 2, 2),
}


@pytest.mark.slow
@pytest.mark.parametrize("method", sorted(CLAIMS))
def test_the_class_goes_and_the_others_stay(warm: Warm, outputs: Path, method: str) -> None:
    """D_f near the retrained model's, which is 0, and D_r near the original's."""
    setting, most_forget, most_lost = CLAIMS[method]
    seen = figures(warm, outputs, method, setting)
    assert seen["original"]["forget"] > 90
    assert seen["retrained"]["forget"] == 0
    assert seen["unlearned"]["forget"] <= most_forget
    assert seen["unlearned"]["retain"] >= seen["original"]["retain"] - most_lost


@pytest.mark.slow
def test_fine_tuning_keeps_the_others_and_forgets_in_part(warm: Warm, outputs: Path) -> None:
    """What it is a baseline for: the class fades, but does not go."""
    seen = figures(warm, outputs, "fine_tune", LENET)
    assert seen["unlearned"]["retain"] >= seen["original"]["retain"] - 1
    assert 5 < seen["unlearned"]["forget"] < seen["original"]["forget"] - 10
