"""Runs that were kept offline are sent by one command, each once, whatever happens on the way."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import wandb

from tests.helpers.command_line import run_program
from tests.helpers.config import resolve
from tests.helpers.wandb_reader import read_back
from tests.helpers.wandb_server import KEY, Server, closed, serving, silent
from unlearn.tracking.base import Step
from unlearn.tracking.weights_and_biases import WeightsAndBiases


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """Three runs kept offline, and a fourth on its way."""
    config = resolve("model=lenet", "training.epochs=2")
    for name in ("first", "second", "third", ".fourth.partial"):
        directory = tmp_path / "outputs" / "digits-lenet" / name
        directory.mkdir(parents=True)
        arguments: dict[str, Any] = {"entity": None, "group": None, "tags": [], "images": True}
        arguments |= {"artifact": False, "init_timeout": 20, "finish_timeout": 20}
        listener = WeightsAndBiases("offline", "unlearn", **arguments)
        listener.start(config, directory, name)
        listener.step(Step("transfer", 1, 1, {"loss": 0.5}))
        listener.finish({"status": "complete", "access": "none", "oracle": False}, directory)
    wandb.teardown()  # or else the processes that are started below would use this one's
    return tmp_path / "outputs"


def sync(outputs: Path, url: str, *options: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    server = {"WANDB_BASE_URL": url, "WANDB_API_KEY": KEY, "WANDB_MODE": "offline"}
    return run_program("-m", "unlearn.tracking.sync", outputs, *options, code=code, **server)


def test_every_run_is_sent_once_and_a_broken_one_keeps_none_back(outputs: Path) -> None:
    (broken,) = outputs.glob("*/second/wandb/offline-run-*/*.wandb")
    whole = broken.read_bytes()
    broken.write_bytes(b"this is no log")
    with serving() as server:
        done = sync(outputs, server.url, code=1)
        assert done.stdout.splitlines() == [f"not sent: {broken.parent}", "2 of 3 runs sent"]
        assert len(server.runs) == 2

        broken.write_bytes(whole)
        done = sync(outputs, server.url)
        assert done.stdout == "1 of 1 runs sent\n"
        assert len(server.runs) == 3
        for run in server.runs.values():
            assert [row["transfer/loss"] for row in run["history"]] == [0.5]
            assert run["exit"] == 0

        done = sync(outputs, server.url)
        assert done.stdout == "0 of 0 runs sent\n"


def test_a_run_that_the_server_refuses_is_not_taken_for_sent(outputs: Path) -> None:
    (log,) = outputs.glob("*/second/wandb/offline-run-*/*.wandb")
    with serving() as server:
        server.refused = {log.stem.removeprefix("run-")}
        done = sync(outputs, server.url, code=1)
        assert done.stdout.splitlines() == [f"not sent: {log.parent}", "2 of 3 runs sent"]
        (line,) = done.stderr.splitlines()
        assert "Fatal error while uploading data" in line

        server.refused = set()
        done = sync(outputs, server.url)
        assert [run["exit"] for run in server.runs.values()] == [0, 0, 0]


@pytest.mark.slow
def test_without_a_server_all_are_named_as_not_sent_and_kept(outputs: Path) -> None:
    logs = sorted(outputs.glob("*/*/wandb/offline-run-*/*.wandb"))
    before = [log.read_bytes() for log in logs]
    done = sync(outputs, closed(), code=1)
    assert done.stdout.count("not sent: ") == 3
    assert done.stdout.endswith("\n0 of 3 runs sent\n")
    assert done.stderr.startswith("unlearn-sync: ")
    assert [log.read_bytes() for log in logs] == before


def test_a_server_that_stops_answering_is_given_up(outputs: Path) -> None:
    class Fading(Server):
        def answer(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
            self.deaf = "upsertBucket" in query
            return super().answer(query, variables)

    with serving(Fading()) as server:
        done = sync(outputs, server.url, "--patience", "3", code=1)
    assert done.stdout.endswith("\n0 of 3 runs sent\n")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with silent() as url:
        done = sync(tmp_path / "nowhere", url, code=2)
    assert done.stderr == f"unlearn-sync: FOLDER={tmp_path / 'nowhere'}: no such folder\n"


@pytest.mark.parametrize(
    ("files", "sent"),
    [
        (["student.safetensors"], ["student.safetensors"]),
        (["student.pt"], ["student.pt"]),
        (
            ["student.safetensors", "student/config.json", "student/model.safetensors"],
            ["config.json", "model.safetensors"],
        ),
    ],
)
def test_the_artifact_is_the_student_in_the_form_of_the_checkpoint(
    tmp_path: Path, files: list[str], sent: list[str]
) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    config = resolve()
    arguments: dict[str, Any] = {"entity": None, "group": None, "tags": [], "images": False}
    arguments |= {"artifact": True, "init_timeout": 20, "finish_timeout": 20}
    listener = WeightsAndBiases("offline", "unlearn", **arguments)
    listener.start(config, tmp_path, "0123")
    listener.finish({"status": "complete", "access": "none", "oracle": False}, tmp_path)
    wandb.teardown()
    artifacts = [r["artifact"] for r in read_back(tmp_path) if "artifact" in r]
    (manifest,) = [a["manifest"] for a in artifacts if a["name"] == "student"]
    assert sorted(entry["path"] for entry in manifest["contents"]) == sent
