"""Whether the user's teacher looks trained: with data and without."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from torch import nn

from tests.helpers.paths import CONF
from tests.helpers.tiny import CPU
from unlearn.config.hashing import config_hash
from unlearn.config.resolve import resolve_config
from unlearn.config.schema import RunConfig
from unlearn.data import digits
from unlearn.errors import ConfigError
from unlearn.models.network import builder
from unlearn.runner.run import run
from unlearn.runner.teacher_check import check_teacher

NONE = [
    *("dataset=none", "dataset.shape=[1,8,8]", "dataset.num_classes=10", "dataset.mean=[0.3]"),
    "dataset.std=[0.4]",
]
QUICK = ["forget=[0]", "model=lenet", "method=original", "evaluation=quick"]
REST = [*QUICK, "hardware.threads=1", "tracking.mode=disabled"]


def config(*words: str) -> RunConfig:
    overrides = [*REST, *words]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return resolve_config(compose("config", overrides=overrides), overrides)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of LeNet trained on the digits."""
    folder = tmp_path_factory.mktemp("trained")
    outcome = run(config("training.epochs=8", f"outputs={folder}"))
    return outcome.directory / "student.safetensors"


def untrained(folder: Path) -> Path:
    setting = config(*NONE, "model.checkpoint=x")
    torch.save(builder(setting.model, setting.dataset)(3).state_dict(), folder / "new.pt")
    return folder / "new.pt"


def test_trained_teacher_is_believed(trained: Path, tmp_path: Path) -> None:
    words = (f"model.checkpoint={trained}", f"outputs={tmp_path}", "training.epochs=1")
    for more in (NONE, []):
        alarms = run(config(*words, *more)).record["alarms"]
        assert not [line for line in alarms if line.startswith("teacher")]


def test_untrained_teacher_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = untrained(tmp_path)
    words = (f"model.checkpoint={path}", f"outputs={tmp_path}", "training.epochs=1")
    for more, word in ((NONE, "untrained"), ([], "near chance")):
        record = run(config(*words, *more)).record
        assert any(line.startswith("teacher: ") and word in line for line in record["alarms"])
        assert word in capsys.readouterr().err
        assert record["status"] == "complete"
        with pytest.raises(ConfigError, match=word):
            run(config(*words, *more, "model.check=error", "force=true"))
        record = run(config(*words, *more, "model.check=off", "force=true")).record
        assert not [line for line in record["alarms"] if line.startswith("teacher")]


def test_the_check_is_no_part_of_the_hash() -> None:
    words = (*NONE, "model.checkpoint=x")
    hashes = {config_hash(config(*words, f"model.check={c}"), "x") for c in ("error", "off")}
    assert hashes == {config_hash(config(*words), "x")}


class Uniform(nn.Module):
    """Answers every image alike."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)[:, :10] * 0


def test_constant_answers_are_named() -> None:
    signs = check_teacher(config(*NONE, "model.checkpoint=x"), Uniform(), None, CPU)
    assert len(signs) == 2


@pytest.mark.parametrize(
    ("mean", "std", "count"), [(0.305, 0.377, 0), (0.0, 1.0, 1), (0.0, 1 / 255, 1)]
)
def test_another_normalisation_shows_in_the_first_batch_norm(
    mean: float, std: float, count: int
) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.Flatten(), nn.Linear(1024, 10)
    )
    images = digits.load(0.3).train_images / 255
    for _ in range(50):
        net((images - 0.305) / 0.377)
    words = (*NONE[:3], f"dataset.mean=[{mean}]", f"dataset.std=[{std}]", "model.checkpoint=x")
    signs = check_teacher(config(*words), net.eval(), None, CPU)
    assert len([sign for sign in signs if "batch norm" in sign]) == count
