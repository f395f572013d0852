"""Weights & Biases without an account, verified by wandb's own reader; history as Parquet."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
from command_line import TINY, Cli, record_in

OFFLINE = [a for a in TINY if not a.startswith(("tracking", "evaluation"))]
FIGURES = ["evaluation.every=2", "evaluation.metrics.inversion_attack.steps=2"]


def read_back(directory: Path) -> list[dict[str, Any]]:
    """The records of a run's transaction log, as `wandb leet inspect --json` prints them."""
    (log,) = directory.glob("wandb/offline-run-*/run-*.wandb")
    reader = [str(Path(sys.executable).parent / "wandb"), "leet", "inspect", "--json", str(log)]
    done = subprocess.run(reader, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def test_an_offline_run_holds_config_curves_summary_images_and_checkpoint(
    cli: Cli, tmp_path: Path
) -> None:
    options = ["tracking.observers.wandb.tags=[thesis]", "tracking.observers.wandb.artifact=true"]
    done = cli(*OFFLINE, *FIGURES, *options, "run_dir=here", WANDB_API_KEY="")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""

    found = read_back(tmp_path / "here")
    text = json.dumps(found)
    (run,) = [r["run"] for r in found if "run" in r]
    config = run["config"]["update"]
    record = record_in(tmp_path / "here")
    assert run["project"] == "unlearn"
    assert run["run_group"] == "digits-lenet-gkt"
    assert run["job_type"] == "unlearn"
    assert set(run["tags"]) == {"digits", "lenet", "gkt", "thesis"}
    assert config["method"]["iterations"] == 4
    assert config["config_hash"] == record["config_hash"]
    for logged in ("teacher/loss", "transfer/divergence", "transfer/retain", "transfer/pass_rate"):
        assert logged in text
    for picture in ("figures/samples", "figures/inversion_attack"):
        assert picture in text
    assert "student" in [r["artifact"]["name"] for r in found if "artifact" in r]
    assert any(r.get("exit", {}).get("exit_code", 0) == 0 for r in found if "exit" in r)


def test_one_run_of_a_sweep_does_not_leak_into_the_next(cli: Cli, tmp_path: Path) -> None:
    done = cli("-m", *OFFLINE, "evaluation=quick", "forget=[0],[1]")
    assert done.returncode == 0, done.stderr
    directories = [path.parent for path in (tmp_path / "outputs").rglob("record.json")]
    assert len(directories) == 2
    for directory in directories:
        found = read_back(directory)
        (run,) = [r["run"] for r in found if "run" in r]
        assert run["config"]["update"]["forget"] == record_in(directory)["forget"]


def test_a_failed_run_is_closed_as_failed(cli: Cli, tmp_path: Path) -> None:
    done = cli(*OFFLINE, "evaluation=quick", "method.learning_rate=1e30", "run_dir=here")
    assert done.returncode == 1
    (ended,) = [r["exit"] for r in read_back(tmp_path / "here") if "exit" in r]
    assert ended["exit_code"] == 1


def test_disabled_writes_nothing_of_wandb(cli: Cli, tmp_path: Path) -> None:
    assert cli(*TINY, "run_dir=here").returncode == 0
    assert not list(tmp_path.rglob("*wandb*"))


def test_history_holds_every_step_and_the_observations(cli: Cli, tmp_path: Path) -> None:
    arguments = [a for a in TINY if not a.startswith("evaluation")]
    filters = ["filter.gate=0.5", "filter.entropy=2.0", "training.epochs=15"]
    done = cli(*arguments, *FIGURES, *filters, "run_dir=here")
    assert done.returncode == 0, done.stderr
    history = pd.read_parquet(tmp_path / "here" / "history.parquet")
    transfer = history[history.stage == "transfer"]
    assert list(transfer.step) == [1, 2, 3, 4]
    assert transfer.retain.notna().tolist() == [False, True, False, True]
    rates = transfer[["pass_rate", "pass_rate.gate", "pass_rate.entropy"]]
    assert ((rates >= 0) & (rates <= 1)).all(axis=None)
    assert (rates["pass_rate"] <= rates.min(axis=1) + 1e-6).all()
    last = record_in(tmp_path / "here")["accuracy"]["unlearned"]["test"]
    assert transfer.retain.iloc[-1] == last["retain"]
    assert transfer.forget.iloc[-1] == last["forget"]


def test_online_without_an_account_is_refused_before_work(cli: Cli, tmp_path: Path) -> None:
    done = cli(
        *OFFLINE, "tracking.mode=online", WANDB_API_KEY="", HOME=str(tmp_path), NETRC="/dev/null"
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "tracking.mode=online" in line
    assert "wandb login" in line
    assert not list(tmp_path.rglob("model.safetensors"))
