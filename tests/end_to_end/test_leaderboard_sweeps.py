"""The leaderboard's sweeps: planned at their full size, and methods told apart by name."""

from pathlib import Path

import pytest
from hydra import compose
from omegaconf import OmegaConf

from tests.helpers.command_line import Cli
from tests.helpers.paths import CONF

pytestmark = pytest.mark.usefixtures("composing")

FOLDER = CONF / "method"
# Settings were chosen on these; a board must not rank by them.
TUNED_ON = {"digits": {1, 3, 5, 7, 9}, "fashion_mnist": {0, 1, 2, 3, 4}}


def params(name: str) -> dict[str, str]:
    chosen = compose("config", [f"experiment={name}"], return_hydra_config=True)
    found = OmegaConf.to_container(chosen.hydra.sweeper.params)
    return {str(key): str(value) for key, value in found.items()}


@pytest.mark.parametrize(
    ("name", "settings"),
    [("leaderboard", 100), ("leaderboard/digits", 15), ("leaderboard/fashion_mnist", 15)],
)
def test_a_board_runs_all_methods_classes_and_seeds(cli: Cli, name: str, settings: int) -> None:
    count = len(params(name)["method"].split(",")) * settings
    done = cli(f"experiment={name}", "launch=plan")
    assert f"{count} runs: {count} new" in done.stderr


def test_every_method_is_on_the_board() -> None:
    listed = {word.strip() for word in params("leaderboard")["method"].split(",")}
    assert listed == {path.stem for path in FOLDER.glob("*.yaml")}
    assert len(listed) == params("leaderboard")["method"].count(",") + 1, "one is named twice"


@pytest.mark.parametrize("dataset", sorted(TUNED_ON))
def test_no_board_ranks_by_classes_that_settings_were_chosen_on(dataset: str) -> None:
    classes = params(f"leaderboard/{dataset}")["forget"]
    ranked = {int(number) for number in classes.replace("[", "").replace("]", "").split(",")}
    assert ranked
    assert not ranked & TUNED_ON[dataset]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_method_is_called_what_its_file_is(path: Path) -> None:
    method = compose("config", [f"method={path.stem}", "~tuned"]).method
    assert method.name == path.stem
    if path.stem.endswith("_inverted"):
        assert method.source._target_ == "unlearn.synthesis.sources.Inverted"
        without = path.stem.removesuffix("_inverted")
        plain = compose("config", [f"method={without}", "~tuned"]).method
        own = {key: value for key, value in method.items() if key not in ("name", "source")}
        assert own == {k: v for k, v in plain.items() if k not in ("name", "source")}
