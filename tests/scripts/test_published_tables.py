"""The paper's tables beside ours: the right cells, and what a run differs in from the paper's."""

import csv
import io
import json
import runpy
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir

from tests.helpers.paths import ROOT
from tests.helpers.synthetic import add_history, put
from unlearn.config.resolve import resolve_config
from unlearn.report.pivot import format_mean
from unlearn.roles import SELECT

main = runpy.run_path(str(ROOT / "scripts" / "published_tables.py"))["main"]


def put_published(outputs: Path, dataset: str, model: str, *words: str, **figures: Any) -> Path:
    """A made-up record whose config is what `experiment=published/...` composes."""
    typed = [f"experiment=published/{dataset}", f"model={model}", *words]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = resolve_config(compose("config", typed), typed)
    run = put(outputs, seed=config.seed, forget=list(config.forget), **figures)
    record = json.loads((run / "record.json").read_text())
    record |= {"dataset": dataset, "model": config.model.name, "method": config.method.name}
    access = "oracle" if config.plain()["method"].get("selection") == "oracle" else "none"
    record |= {"config": config.plain(), "command": typed, "access": access}
    (run / "record.json").write_text(json.dumps(record))
    return run


def tables(*words: str) -> str:
    out = io.StringIO()
    with redirect_stdout(out):
        main(words)
    return out.getvalue()


def lines(outputs: Path) -> list[dict[str, str]]:
    text = tables(str(outputs), "--format", "csv").split("\n\n")[0]
    return list(csv.DictReader(io.StringIO(text)))


def test_ours_stand_beside_the_papers(tmp_path: Path) -> None:
    for seed, (selected, last) in enumerate([(90.0, 98.0), (93.0, 97.0), (96.5, 98.5)]):
        run = put_published(tmp_path, "mnist", "allcnn_full", f"seed={seed}", D_r=selected)
        add_history(run, forget=[0.0, 76.0], retain=[selected, last])
        history = pd.read_parquet(run / "history.parquet")
        chosen = {"stage": SELECT, "step": 1, "retain": selected, "forget": 0.0}
        restored = history.iloc[[-1]].assign(**chosen)
        pd.concat([history, restored]).to_parquet(run / "history.parquet")
    put_published(tmp_path, "mnist", "lenet", "method=noise", "forget=[1,2]", D_r=96.0)
    found = {(r["dataset"], r["model"], r["forget"], r["method"]): r for r in lines(tmp_path)}

    row = found["mnist", "allcnn", "0", "gkt†"]
    assert row["paper original"] == "97.84 / 99.61"
    assert row["paper retrained"] == "99.25 / 0.00"
    assert row["paper D_r / D_f"] == "97.12 / 0.00"
    assert row["paper AIN"] == "0.65"
    assert row["runs"] == "3"
    assert row["test-selected"] == f"{format_mean(np.array([90, 93, 96.5]))} / 0.00 ± 0.00"
    assert row["last"] == f"{format_mean(np.array([98, 97, 98.5]))} / 76.00 ± 0.00"
    assert row["AIN"] == "0.50 ± 0.00"
    assert row["D_r - paper"] == format_mean(np.array([90, 93, 96.5]) - 97.12)
    assert row["differs in"] == ""

    unknown = found["mnist", "lenet", "1,2", "noise"]
    assert unknown["paper D_r / D_f"] == "-", "the paper has no such figure"
    assert unknown["test-selected"] == "- / -", "nothing selects noise"
    assert unknown["last"] == "96.00 / 0.00"
    assert unknown["D_r - paper"] == "-"

    missing = found["cifar10", "resnet9", "0", "noise"]
    assert missing["paper D_r / D_f"] == "10.85 / 0.00"
    assert (missing["runs"], missing["last"]) == ("none", "-")
    assert len(found) == 24 + 1, "every figure of the paper once, and the run of ours alone"


def test_what_differs_from_the_paper_is_not_averaged_with_it(tmp_path: Path) -> None:
    put_published(tmp_path, "mnist", "lenet", "method=noise", "seed=0", D_r=95.0)
    put_published(tmp_path, "mnist", "lenet", "method=noise", "seed=1", D_r=97.0)
    shrunk = ["method=noise", "method.noise_steps=5", "training.epochs=1"]
    put_published(tmp_path, "mnist", "lenet", *shrunk, D_r=60.0)
    put_published(tmp_path, "mnist", "allcnn", "method=noise", D_r=60.0)
    ours = [row for row in lines(tmp_path) if row["runs"] != "none"]
    assert {(row["model"], row["differs in"], row["runs"]) for row in ours} == {
        ("lenet", "", "2"),
        ("lenet", "training.epochs=1, method.noise_steps=5", "1"),
        ("allcnn", "model.width=0.25", "1"),
    }
    assert {row["paper D_r / D_f"] for row in ours} == {"96.96 / 99.37", "10.57 / 0.00"}


def test_a_failed_run_is_listed_with_its_command(tmp_path: Path) -> None:
    put_published(tmp_path, "svhn", "lenet", D_r=90.0)
    put_published(tmp_path, "svhn", "lenet", "seed=1", status="failed", error="not finite")
    text = tables(str(tmp_path))
    (row,) = [line for line in text.splitlines() if "| svhn | lenet | 0 |  | gkt† |" in line]
    assert "| 1 | 1 |" in row, "one complete, one failed"
    assert "unlearn experiment=published/svhn model=lenet seed=1" in text


@pytest.mark.parametrize(("published", "line"), [(None, "holds no record.json"), (False, "no run")])
def test_nothing_to_show(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], published: bool | None, line: str
) -> None:
    if published is not None:
        put(tmp_path, config={"method.as_published": published})
    with pytest.raises(SystemExit) as stop:
        main([str(tmp_path)])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert line in said
    assert said.count("\n") == 1
