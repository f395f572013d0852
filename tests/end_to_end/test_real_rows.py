"""The record's ledger: the real rows that each method touched, and none without access."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import unlearn
from tests.helpers.command_line import TINY, Cli, valid_record_in

SHARED = [word for word in TINY if not word.startswith("method")]
RETAINED = [0, *[1] * 9]  # by class: whether it is retained when class 0 is forgotten


def ran(cli: Cli, folder: Path, *words: str, **environment: str) -> dict[str, Any]:
    cli(*SHARED, *words, "run_dir=here", **environment)
    return valid_record_in(folder / "here")


@pytest.mark.parametrize(
    "words",
    [
        ["method=regrow", "method.iterations=2", "method.pool=2", "method.inversion_steps=2"],
        ["method=delete", "method/source=inverted", "method.source.steps=2", "method.epochs=1"],
    ],
)
def test_without_access_nothing_is_touched(cli: Cli, tmp_path: Path, words: list[str]) -> None:
    record = ran(cli, tmp_path, *words)
    assert record["access"] == "none"
    assert record["ledger"] == {
        "images": 0,
        "labels": 0,
        "images_per_class": [0] * 10,
        "told": 0,
    }
    assert record["peak_memory"]["resident"] > record["peak_memory"]["added"] >= 0


@pytest.mark.parametrize(
    ("words", "forgotten", "retained"),
    [
        (["method=delete", "method.epochs=1"], True, False),
        (["method=retrain"], False, True),
    ],
)
def test_just_the_classes_that_were_read_are_counted(
    cli: Cli, tmp_path: Path, words: list[str], forgotten: bool, retained: bool
) -> None:
    ledger = ran(cli, tmp_path, *words)["ledger"]
    each = ledger["images_per_class"]
    assert [count > 0 for count in each] == [retained if r else forgotten for r in RETAINED]
    assert ledger["images"] == ledger["labels"] == sum(each)
    assert all(100 < count < 200 for count in each if count), "all training rows of a class"


PICKY = """
from dataclasses import dataclass
from unlearn.methods.original import Original

@dataclass(frozen=True)
class Picky(Original):
    access = "all"

    def unlearn(self, request, data):
        images = data.only((3, 4)).images
        yield from super().unlearn(request, data)
"""


def test_a_method_that_picks_classes_reads_every_label(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "picky.py").write_text(PICKY)
    words = ["method=original", "method._target_=picky.Picky", "method.name=picky"]
    ledger = ran(
        cli, tmp_path, *words, PYTHONPATH=f"{tmp_path}:{Path(unlearn.__file__).parents[1]}"
    )["ledger"]
    each = ledger["images_per_class"]
    assert [number for number, count in enumerate(each) if count] == [3, 4]
    assert ledger["images"] == sum(each) < ledger["labels"]
    assert ledger["labels"] > 1000, "the whole training set"


def test_an_oracles_looks_are_counted(cli: Cli, tmp_path: Path) -> None:
    words = ["method=gkt", "method.iterations=4", "method.batch_size=16", "evaluation.every=2"]
    record = ran(cli, tmp_path, *words, "method.selection=oracle")
    assert record["access"] == "oracle"
    assert record["ledger"]["images"] == record["ledger"]["labels"] == 0
    looks = pd.read_parquet(tmp_path / "here" / "history.parquet")["retain"].count()
    assert record["ledger"]["told"] == looks >= 2
