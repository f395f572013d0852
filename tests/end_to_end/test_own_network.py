"""The engineer's job: a network and a checkpoint from elsewhere, a deletion request, no data."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.helpers.command_line import Cli, record_in, run_program

# A user's package: nothing in it knows of this project.
NETWORK = """
import torch

class Net(torch.nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.conv = torch.nn.Conv2d(1, hidden, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(hidden)
        self.out = torch.nn.Linear(hidden * 16, 10)

    def forward(self, x):
        x = torch.relu(self.norm(self.conv(x)))
        return self.out(torch.nn.functional.max_pool2d(x, 2).flatten(1))
"""

DATA = """
import numpy, sys, torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

assert not any(name.split(".")[0] == "unlearn" for name in sys.modules)
x, y = load_digits(return_X_y=True)
x = torch.tensor(x / 16, dtype=torch.float32).view(-1, 1, 8, 8).sub(0.3).div(0.4)
x, tx, y, ty = train_test_split(x, torch.tensor(y), test_size=0.3, random_state=1)
"""

TRAIN = (
    DATA
    + """
from their_package import Net
torch.manual_seed(0)
net = Net(24)
optimizer = torch.optim.Adam(net.parameters(), 3e-3)
for epoch in range(15):
    for rows in torch.randperm(len(x)).split(64):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
        optimizer.step()
torch.save({"state_dict": net.state_dict(), "epoch": 15}, "trained.pt")
"""
)

MEASURE = (
    DATA
    + """
from their_package import Net
net = Net(24).eval()
net.load_state_dict(torch.load(sys.argv[1], weights_only=True)["state_dict"])
right = net(tx).argmax(1) == ty
print(100 * right[ty != 0].float().mean().item(), 100 * right[ty == 0].float().mean().item())
"""
)


def program(folder: Path, text: str, *arguments: str) -> str:
    """Run a program that imports nothing of this project, and return what it printed."""
    return run_program("-c", text, *arguments, folder=folder).stdout


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    (folder / "their_package.py").write_text(NETWORK)
    program(folder, TRAIN)
    return folder


@pytest.fixture
def their_folder(tmp_path: Path, trained: Path) -> Path:
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return tmp_path


ARGUMENTS = [
    "model._target_=their_package.Net",
    "+model.hidden=24",
    "dataset=none",
    "dataset.shape=[1,8,8]",
    "dataset.num_classes=10",
    "dataset.mean=[0.3]",
    "dataset.std=[0.4]",
    "hardware=cpu",
]


def test_their_state_dict_is_unlearned_without_data(cli: Cli, their_folder: Path) -> None:
    retain, forget = map(float, program(their_folder, MEASURE, "trained.pt").split())
    assert retain > 90
    assert forget > 90

    done = cli(
        *ARGUMENTS,
        "model.checkpoint=trained.pt",
        "method=gkt",
        "method.iterations=25",
        "run_dir=deleted",
        PYTHONPATH=str(their_folder),
    )

    assert "Not computed without data: accuracy, relearn, membership, divergence" in done.stdout
    after_retain, after_forget = map(
        float, program(their_folder, MEASURE, "deleted/student.pt").split()
    )
    assert after_forget == 0
    assert after_retain > retain - 5
    given = torch.load(their_folder / "trained.pt", weights_only=True)
    written = torch.load(their_folder / "deleted" / "student.pt", weights_only=True)
    assert written["epoch"] == given["epoch"] == 15
    assert list(written["state_dict"]) == list(given["state_dict"])
    record = record_in(their_folder / "deleted")
    assert record["status"] == "complete"
    assert record["model"] == "Net"
    assert record["accuracy"]["unlearned"]["test"] == {"retain": None, "forget": None}
    assert record["seconds"]["teacher"] is None


def test_safetensors_in_safetensors_out(cli: Cli, their_folder: Path) -> None:
    given = torch.load(their_folder / "trained.pt", weights_only=True)["state_dict"]
    save_file(given, their_folder / "trained.safetensors")
    tiny = ["method=inversion", "method.images=4", "method.inversion_steps=5", "method.epochs=2"]
    tiny += ["evaluation.pictures=true"]
    cli(
        *ARGUMENTS,
        *tiny,
        "model.checkpoint=trained.safetensors",
        "run_dir=deleted",
        PYTHONPATH=str(their_folder),
    )
    written = load_file(their_folder / "deleted" / "student.safetensors")
    assert {k: v.shape for k, v in written.items()} == {k: v.shape for k, v in given.items()}
    assert (their_folder / "deleted" / "figures" / "samples.png").exists()


def test_a_given_network_is_compared_with_retraining(cli: Cli, their_folder: Path) -> None:
    cli(
        "model._target_=their_package.Net",
        "+model.hidden=24",
        "model.checkpoint=trained.pt",
        "dataset.mean=[0.3]",
        "dataset.std=[0.4]",
        "training.epochs=3",
        "method=original",
        "evaluation=quick",
        "tracking.mode=disabled",
        "run_dir=compared",
        PYTHONPATH=str(their_folder),
    )
    accuracy = record_in(their_folder / "compared")["accuracy"]
    assert accuracy["original"]["test"]["retain"] > 90
    assert accuracy["retrained"]["test"]["forget"] == 0
