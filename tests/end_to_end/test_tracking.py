"""Weights & Biases without an account, verified by wandb's own reader; history as Parquet."""

import json
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest

from tests.helpers.command_line import TINY, Cli, command, record_in, said_in, surroundings
from tests.helpers.wandb_reader import (
    config_of,
    curve_of,
    exit_code_of,
    read_back,
    summary_of,
    the_run,
)

OFFLINE = [a for a in TINY if not a.startswith(("tracking", "evaluation"))]
FIGURES = ["evaluation.every=2", "evaluation.metrics.inversion_attack.steps=2"]


def test_an_offline_run_is_logged_completely(cli: Cli, tmp_path: Path) -> None:
    options = ["tracking.tags=[thesis]", "tracking.project=mine", "method.selection=oracle"]
    options += ["tracking.observers.wandb.artifact=true"]
    job = {"SLURM_JOB_ID": "171", "SLURM_ARRAY_JOB_ID": "17", "SLURM_ARRAY_TASK_ID": "1"}
    done = cli(*OFFLINE, *FIGURES, *options, "run_dir=here", WANDB_API_KEY="", **job)
    assert said_in(done) == []

    found = read_back(tmp_path / "here")
    text = json.dumps(found)
    run, config = the_run(found), config_of(found)
    record = record_in(tmp_path / "here")
    assert run["project"] == "mine"
    assert run["run_group"] == "digits-lenet-gkt"
    assert run["job_type"] == "unlearn"
    assert set(run["tags"]) == {"digits", "lenet", "gkt", "thesis", "oracle"}
    assert config["method"]["iterations"] == 4
    assert config["filter"]["entropy"] is None
    assert config["config_hash"] == record["config_hash"]
    assert config["slurm"] == {"job_id": "171", "array_job_id": "17", "array_task_id": "1"}
    assert curve_of(found, "transfer/step") == [2, 4]
    for logged in ("teacher/loss", "transfer/divergence", "transfer/retain", "transfer/pass_rate"):
        assert logged in text
    for picture in ("figures/samples", "figures/inversion_attack"):
        assert picture in text
    assert "student" in [r["artifact"]["name"] for r in found if "artifact" in r]
    assert summary_of(found)["accuracy"] == record["accuracy"]
    assert exit_code_of(found) == 0


def test_one_run_of_a_sweep_does_not_leak_into_the_next(cli: Cli, tmp_path: Path) -> None:
    sweep = ["forget=[0],[1],[2,3]", "evaluation=quick"]
    cli("-m", *OFFLINE, *sweep, WANDB_RUN_GROUP="of tonight")
    assert apart(tmp_path / "outputs", "of tonight") == [[0], [1], [2, 3]]


def test_a_sweep_of_composed_experiments_is_one_group(cli: Cli, tmp_path: Path) -> None:
    cli("-m", *OFFLINE, "evaluation=quick", "tracking.mode=offline", "experiment=[debug,quick]")
    (directory,) = (path.parent for path in (tmp_path / "outputs").rglob("record.json"))
    group = the_run(read_back(directory))["run_group"]
    assert group.rpartition("-")[0] == "debug+quick"


def apart(outputs: Path, group: str) -> list[object]:
    """Check that every run's W&B folder holds that run and no other; the classes forgotten."""
    directories = sorted(path.parent for path in outputs.rglob("record.json"))
    seen = []
    for directory in directories:
        found, record = read_back(directory), record_in(directory)
        config, summary = config_of(found), summary_of(found)
        assert the_run(found)["run_group"] == group
        assert [config[k] for k in ("config_hash", "forget", "seed")] == [
            record[k] for k in ("config_hash", "forget", "seed")
        ]
        assert summary["accuracy"] == record["accuracy"]
        history = pd.read_parquet(directory / "history.parquet")
        last = history[history.stage == "transfer"].iloc[-1]
        assert curve_of(found, "transfer/step") == [4]
        assert curve_of(found, "transfer/divergence") == pytest.approx([last["divergence"]])
        seen.append((summary["config_hash"], config["forget"]))
    assert len({config_hash for config_hash, _ in seen}) == len(directories)
    return sorted(forget for _, forget in seen)


def test_a_failed_run_is_closed_as_failed_and_says_why(cli: Cli, tmp_path: Path) -> None:
    cli(*OFFLINE, "evaluation=quick", "method.learning_rate=1e30", "run_dir=here", code=1)
    found = read_back(tmp_path / "here")
    assert exit_code_of(found) == 1
    assert summary_of(found)["status"] == "failed"
    assert "not finite" in summary_of(found)["error"]


@pytest.mark.slow
def test_a_killed_run_ends_as_one_run_with_one_curve(cli: Cli, tmp_path: Path) -> None:
    words = [a for a in OFFLINE if not a.startswith("method.iterations")]
    words += ["method.iterations=200", "evaluation=quick", "checkpoint_every=0", "run_dir=here"]
    partial = tmp_path / ".here.partial"
    process = subprocess.Popen(command(*words), cwd=tmp_path, env=surroundings())
    deadline = time.monotonic() + 120
    while not (partial / "resume.pt").exists() or not list(partial.glob("wandb/*/*.wandb")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.5)
    process.kill()
    process.wait()
    identity = (partial / "wandb" / "id").read_text()

    done = cli(*words)
    assert said_in(done) == []
    assert record_in(tmp_path / "here")["resumed"] == 1
    found = read_back(tmp_path / "here")
    assert the_run(found)["run_id"] == identity
    assert curve_of(found, "transfer/step") == list(range(10, 201, 10))
    assert curve_of(found, "teacher/step") == [2]
    numbers = [r["history"]["step"]["num"] for r in found if "history" in r]
    assert numbers == sorted(set(numbers))

    shorter = [a for a in words if not a.startswith("method.iterations")]
    cli(*shorter, "method.iterations=4", "force=true")
    assert the_run(read_back(tmp_path / "here"))["run_id"] != identity


def test_disabled_writes_nothing_of_wandb(cli: Cli, tmp_path: Path) -> None:
    cli(*TINY, "run_dir=here")
    assert not list(tmp_path.rglob("*wandb*"))


def test_history_holds_every_step_and_the_observations(cli: Cli, tmp_path: Path) -> None:
    arguments = [a for a in TINY if not a.startswith("evaluation")]
    filters = ["filter.gate=0.5", "filter.entropy=2.0", "training.epochs=15"]
    cli(*arguments, *FIGURES, *filters, "run_dir=here")
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


def test_a_log_has_lines_and_plain_trackers_write_files(cli: Cli, tmp_path: Path) -> None:
    words = [word for word in TINY if not word.startswith("tracking")]
    done = cli(*words, "tracking=csv", "tracking.observers.lines.every=0.2", "run_dir=here")
    begun = [line.split()[1] for line in done.stderr.splitlines() if " has begun, " in line]
    assert begun == ["teacher", "retrained", "transfer"]
    assert any(" step " in line for line in done.stderr.splitlines())
    written = pd.read_csv(tmp_path / "here" / "history.csv")
    history = pd.read_parquet(tmp_path / "here" / "history.parquet")
    pd.testing.assert_frame_equal(written, history, check_dtype=False)
    assert not (tmp_path / "here" / "wandb").exists()


def test_tensorboard_has_the_curves_of_the_history(cli: Cli, tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    words = [word for word in TINY if not word.startswith("tracking")]
    cli(*words, "tracking=tensorboard", "run_dir=here")
    events = accumulator.EventAccumulator(str(tmp_path / "here" / "tensorboard")).Reload()
    history = pd.read_parquet(tmp_path / "here" / "history.parquet")
    expected = history[history.stage == "transfer"]["divergence"]
    found = [event.value for event in events.Scalars("transfer/divergence")]
    assert found == pytest.approx(expected.tolist(), rel=1e-5)


def test_online_without_an_account_is_refused_before_work(cli: Cli, tmp_path: Path) -> None:
    done = cli(
        *OFFLINE,
        "tracking.mode=online",
        WANDB_API_KEY="",
        HOME=str(tmp_path),
        NETRC="/dev/null",
        code=2,
    )
    (line,) = done.stderr.splitlines()
    assert "tracking.mode=online" in line
    assert "wandb login" in line
    assert not list(tmp_path.rglob("model.safetensors"))
