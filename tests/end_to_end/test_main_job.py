"""The main job end to end: what one command leaves behind."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from tests.helpers.command_line import TINY, Cli, Warm, record_in, valid_record_in
from tests.helpers.paths import CONF
from unlearn.models.lenet import LeNet

FIGURES = ["evaluation=full", "evaluation.every=2", "evaluation.metrics.inversion_attack.steps=3"]


@pytest.mark.parametrize("method", ["gkt", "original", "retrain"])
def test_a_run_leaves_a_complete_record(cli: Cli, tmp_path: Path, method: str) -> None:
    tiny = TINY if method == "gkt" else [a for a in TINY if not a.startswith("method")]
    extra = [] if method == "gkt" else [f"method={method}"]

    done = cli(*tiny, *extra, *FIGURES, "run_dir=here")

    assert "D_r test" in done.stdout
    assert str(tmp_path / "here") in done.stdout
    assert {p.name for p in tmp_path.iterdir() if p.name[0] != "."} == {"here", "outputs"}
    record = valid_record_in(tmp_path / "here")
    assert record["status"] == "complete"
    assert record["error"] is None
    assert record["method"] == method
    assert record["access"] == ("retain" if method == "retrain" else "none")
    for model in ("original", "retrained", "unlearned"):
        assert record["accuracy"][model]["test"]["retain"] is not None
        assert 0 <= record["membership"][model]["auc"] <= 1
    assert record["seconds"]["unlearn"] > 0
    assert (tmp_path / "here" / "figures" / "inversion_attack.png").stat().st_size > 1000
    history = pd.read_parquet(tmp_path / "here" / "history.parquet")
    assert {"stage", "step", "loss"} <= set(history.columns)
    LeNet(1, 10, 8).load_state_dict(load_file(tmp_path / "here" / "student.safetensors"))


def test_accuracies_of_original_and_retrained_networks(cli: Cli, tmp_path: Path) -> None:
    arguments = ["model=lenet", "method=original", "hardware=cpu", "tracking.mode=disabled"]
    cli(*arguments, "training.epochs=15", "run_dir=here")

    accuracy = record_in(tmp_path / "here")["accuracy"]
    assert accuracy["unlearned"] == accuracy["original"]
    assert accuracy["original"]["test"]["forget"] > 90
    assert accuracy["retrained"]["test"]["forget"] == 0
    assert accuracy["retrained"]["test"]["retain"] > 90


def test_the_seed_alone_determines_the_student(cli: Cli, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        cli(*TINY, f"seed={seed}", f"run_dir={name}", f"outputs=outputs-{name}")
    students = {n: load_file(tmp_path / n / "student.safetensors") for n in "abc"}
    records = {n: record_in(tmp_path / n) for n in "abc"}

    for key, tensor in students["a"].items():
        assert torch.equal(tensor, students["b"][key])
        assert not torch.equal(tensor, students["c"][key])
    assert records["a"]["accuracy"] == records["b"]["accuracy"]
    assert records["a"]["config_hash"] == records["b"]["config_hash"]
    assert records["a"]["config_hash"] != records["c"]["config_hash"]


def test_a_record_tells_where_the_users_own_yaml_lies(cli: Cli, warm: Warm, tmp_path: Path) -> None:
    for tree, values in (("given", "seed: 5"), ("searched", "training: {epochs: 1}")):
        (tmp_path / tree / "experiment").mkdir(parents=True)
        text = f"# @package _global_\n{values}\n"
        (tmp_path / tree / "experiment" / f"{tree}.yaml").write_text(text)
    searched = f"hydra.searchpath=[file://{tmp_path / 'searched'}]"
    words = [word for word in TINY if word != "training.epochs=2"]
    cli("--config-dir", "given", *words, "experiment=[given,searched]", searched)
    (path,) = (tmp_path / "outputs").glob("*/*/*/seed-5-*/record.json")
    record = json.loads(path.read_text())
    assert record["config"]["training"]["epochs"] == 1

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    again = warm(record["command"], elsewhere)
    assert again.returncode == 0, again.stderr
    assert [found.parent.name for found in elsewhere.rglob("record.json")] == [path.parent.name]


def test_help_needs_no_torch(cli: Cli, tmp_path: Path, no_torch: dict[str, Any]) -> None:
    (tmp_path / "mine" / "method").mkdir(parents=True)
    (tmp_path / "mine" / "method" / "own.yaml").write_text("_target_: own.Method\n")
    methods = {path.stem for path in (CONF / "method").glob("*.yaml")}
    assert {"gkt", "delete", "regrow", "retrain"} <= methods
    own = cli("--config-dir", "mine", "--help", **no_torch).stdout
    assert f"method: {', '.join(sorted({*methods, 'own'}))}\n" in own
    shown = cli("--help", **no_torch)
    assert f"method: {', '.join(sorted(methods))}\n" in shown.stdout
    assert "method/source: inverted, " in shown.stdout
    for line in ("unlearn -m forget=0,1,2", "--shell-completion"):
        assert line in shown.stdout
    composed = cli("--cfg", "job", "method.start=0.25", "--package", "method", **no_torch)
    assert "start: 0.25" in composed.stdout


def test_tab_completion_knows_groups_and_keys(cli: Cli) -> None:
    answer = cli("-sc", "query=bash", COMP_LINE="unlearn method=", COMP_POINT="15")
    assert {"method=gkt", "method=noise"} <= set(answer.stdout.split())
