"""Settings of a method for one data set and network: found by name, laid over the method's own."""

from pathlib import Path
from typing import Any

import pytest
from hydra import compose
from omegaconf import OmegaConf

from tests.helpers.command_line import Cli
from tests.helpers.paths import CONF

pytestmark = pytest.mark.usefixtures("composing")

FILES = sorted((CONF / "tuned").rglob("*.yaml"))


def words(path: Path) -> list[str]:
    dataset, model, method = path.relative_to(CONF / "tuned").with_suffix("").parts
    return [f"dataset={dataset}", f"model={model}", f"method={method}"]


def method_of(*overrides: str) -> dict[str, Any]:
    found = OmegaConf.to_container(compose("config", list(overrides)).method)
    return {str(key): value for key, value in found.items()}


@pytest.mark.parametrize("path", FILES, ids=lambda path: "-".join(path.parts[-3:]))
def test_settings_are_laid_over_the_methods_own(path: Path) -> None:
    own, tuned = OmegaConf.to_container(OmegaConf.load(path)), method_of(*words(path))
    plain = method_of(*words(path), "~tuned")
    assert {str(key) for key in own} <= set(plain), "keys that the method does not have"
    assert tuned == plain | own
    assert all(plain[str(key)] != value for key, value in own.items()), "says what holds anyway"


@pytest.mark.parametrize("path", FILES, ids=lambda path: "-".join(path.parts[-3:]))
def test_another_data_set_has_the_methods_own(path: Path) -> None:
    method = words(path)[2]
    assert method_of("dataset=cifar10", method) == method_of("dataset=cifar10", method, "~tuned")


def test_what_is_typed_wins() -> None:
    path = CONF / "tuned" / "fashion_mnist" / "lenet" / "scrub.yaml"
    found = method_of(*words(path), "method.learning_rate=0.25")
    assert found["learning_rate"] == 0.25
    assert found["forget_batch_size"] == OmegaConf.load(path).forget_batch_size


def test_an_experiment_that_chooses_data_and_network_finds_them() -> None:
    board = method_of("experiment=leaderboard/fashion_mnist", "model=lenet", "method=scrub")
    assert board == method_of("dataset=fashion_mnist", "model=lenet", "method=scrub")


def test_the_users_own_settings_are_found(cli: Cli, tmp_path: Path) -> None:
    mine = tmp_path / "conf" / "tuned" / "digits" / "lenet" / "delete.yaml"
    mine.parent.mkdir(parents=True)
    mine.write_text("# @package method\nepochs: 17\n")
    given = [f"--config-dir={tmp_path / 'conf'}", "model=lenet", "method=delete"]
    done = cli(*given, "--cfg", "job", "--package", "method")
    assert "epochs: 17" in done.stdout
