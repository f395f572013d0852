"""Figures without data at every look, and what they would have picked, in whole runs."""

from pathlib import Path

import pandas as pd
import pytest

from tests.helpers.command_line import TINY, Cli, record_in, valid_record_in

WORDS = [
    *(word for word in TINY if not word.startswith("evaluation")),
    "evaluation=figures",
    "evaluation.every=1",
    "evaluation.metrics.proxy.steps=10",
    "~evaluation.metrics.relearn",
    "~evaluation.metrics.membership",
]


def looks_of(directory: Path) -> pd.DataFrame:
    """The method's steps, with the columns of the looks under their short names."""
    history = pd.read_parquet(directory / "history.parquet")
    return history[history["stage"] == "transfer"].set_index("step")


def test_the_record_compares_what_the_looks_saw(cli: Cli, tmp_path: Path) -> None:
    cli(*WORDS, "run_dir=here")
    record, seen = valid_record_in(tmp_path / "here"), looks_of(tmp_path / "here")
    selection = record["selection"]
    assert record["oracle"] is False
    assert selection["last"] == record["accuracy"]["unlearned"]["test"]
    assert record["proxy"] == {
        name.removeprefix("proxy."): seen[name].iloc[-1] for name in seen if "proxy." in name
    }
    scores = seen["proxy.score"]
    assert scores.nunique() == 4
    assert selection["proxy"]["step"] == scores.idxmax()
    assert selection["proxy"]["retain"] == seen["retain"][scores.idxmax()]
    least = seen[seen["forget"] == seen["forget"].min()]
    assert selection["oracle"]["step"] == least["retain"].idxmax()
    assert selection["oracle"]["retain"] == least["retain"].max()


def test_without_any_data_the_looks_are_the_same(cli: Cli, tmp_path: Path) -> None:
    cli(*WORDS, "run_dir=seeing")
    (teacher,) = (tmp_path / "outputs" / "cache").glob("teacher-*/model.safetensors")
    nowhere = ["dataset=none", "dataset.shape=[1,8,8]", "dataset.num_classes=10"]
    nowhere += ["dataset.mean=[0.305]", "dataset.std=[0.377]", f"model.checkpoint={teacher}"]
    cli(*WORDS, *nowhere, "run_dir=blind")
    seeing, blind = record_in(tmp_path / "seeing"), record_in(tmp_path / "blind")
    assert blind["proxy"] == seeing["proxy"]
    assert blind["selection"]["proxy"]["step"] == seeing["selection"]["proxy"]["step"]
    assert blind["selection"]["proxy"]["retain"] is None
    assert blind["selection"]["oracle"] == {"step": None, "retain": None, "forget": None}
    looks = [looks_of(tmp_path / name)["proxy.score"] for name in ("seeing", "blind")]
    assert looks[0].tolist() == pytest.approx(looks[1].tolist())
