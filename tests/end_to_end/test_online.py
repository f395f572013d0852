"""Weights & Biases with a server that answers, that never does, or that stops on the way.

The server is a small one on the loopback interface; wandb itself is the real one.
"""

import multiprocessing
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import wandb

from tests.helpers.command_line import TINY, Cli, command, record_in, run_program
from tests.helpers.config import resolve
from tests.helpers.wandb_reader import config_of, curve_of, exit_code_of, read_back, summary_of
from tests.helpers.wandb_server import KEY, Server, closed, serving, silent
from unlearn.errors import ConfigError
from unlearn.tracking.base import Step
from unlearn.tracking.weights_and_biases import WeightsAndBiases

ONLINE = [*(a for a in TINY if not a.startswith("tracking")), "tracking.mode=online"]
COMPLETE = {
    "status": "complete",
    "access": "none",
    "oracle": False,
    "error": None,
    "accuracy": {"retain": 98.5},
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that this process's wandb talks to."""
    with serving() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        monkeypatch.setenv("WANDB_MODE", "offline")  # the config has the last word
        wandb.teardown()
        yield server
        wandb.teardown()


def observer(**settings: Any) -> WeightsAndBiases:
    """An observer of the online mode."""
    arguments: dict[str, Any] = {"entity": None, "group": None, "tags": [], "images": True}
    arguments |= {"artifact": False, "init_timeout": 20, "finish_timeout": 20, **settings}
    return WeightsAndBiases("online", "unlearn", **arguments)


def told(observer: WeightsAndBiases, stage: str, steps: range, total: int) -> None:
    """Tell an observer some steps of a stage."""
    for step in steps:
        observer.step(Step(stage, step, total, {"loss": 1 / step}))


def opened(observer: WeightsAndBiases, directory: Path, outputs: Path) -> None:
    """Start an observer and wait until it has its run."""
    directory.mkdir(exist_ok=True)
    observer.start(
        resolve("model=lenet", "training.epochs=2", f"outputs={outputs}"), directory, "abc"
    )
    observer._opened().result()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_run_is_sent_as_it_goes(server: Server, tmp_path: Path) -> None:
    listener = observer(tags=["thesis"])
    opened(listener, tmp_path / "here", tmp_path)
    told(listener, "teacher", range(1, 3), 2)
    told(listener, "transfer", range(1, 25), 24)
    listener.finish(COMPLETE, tmp_path / "here")

    (sent,) = server.runs.values()
    assert [row["_step"] for row in sent["history"]] == [2, 18, 28, 32]
    assert [row.get("transfer/step") for row in sent["history"]] == [None, 10, 20, 24]
    assert sent["summary"]["accuracy"] == {"retain": 98.5}
    assert sent["tags"] == ["digits", "lenet", "regrow", "thesis"]
    assert sent["exit"] == 0
    assert list((tmp_path / "here" / "wandb").glob("run-*/*.wandb.synced"))


def first_attempt(directory: Path, outputs: Path) -> None:
    """An attempt at a run that does not come to its end."""
    listener = observer()
    opened(listener, directory, outputs)
    told(listener, "teacher", range(1, 3), 2)
    told(listener, "transfer", range(1, 31), 50)
    time.sleep(60)


@pytest.mark.slow
def test_a_resumed_attempt_continues_its_wandb_run(server: Server, tmp_path: Path) -> None:
    arguments = (tmp_path / "here", tmp_path)
    first = multiprocessing.get_context("spawn").Process(target=first_attempt, args=arguments)
    first.start()
    until(lambda: [len(run["history"]) for run in server.runs.values()] == [4])
    first.kill()
    first.join()
    (identity,) = server.runs

    second = observer()
    opened(second, tmp_path / "here", tmp_path)
    told(second, "transfer", range(1, 51), 50)  # the teacher comes from the cache now
    second.finish(COMPLETE, tmp_path / "here")
    assert list(server.runs) == [identity]
    rows = server.runs[identity]["history"]
    assert [row.get("transfer/step") for row in rows] == [None, 10, 20, 30, 40, 50]
    assert server.runs[identity]["exit"] == 0


@pytest.mark.parametrize("trouble", ["deaf", "refusing"])
def test_what_a_server_did_not_take_at_the_end_is_sent_later(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], trouble: str
) -> None:
    listener = observer(finish_timeout=2)
    opened(listener, tmp_path / "here", tmp_path)
    (identity,) = server.runs
    server.deaf = trouble == "deaf"
    server.refused = {identity}
    told(listener, "transfer", range(1, 31), 30)
    start = time.monotonic()
    listener.finish(COMPLETE, tmp_path / "here")
    assert time.monotonic() - start < 10
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1, said
    line = said.strip()
    assert line.startswith("unlearn: tracking.mode=online: the server did not take all;")

    server.deaf, server.refused = False, set()
    assert line.endswith(f"unlearn-sync {tmp_path}")
    words = line.rpartition("unlearn-sync ")[2].split()
    done = run_program("-m", "unlearn.tracking.sync", *words)
    assert done.stdout == "1 of 1 runs sent\n"
    assert [row["transfer/step"] for row in server.runs[identity]["history"]] == [10, 20, 30]
    assert server.runs[identity]["exit"] == 0


@pytest.mark.parametrize("told_after", [0, 30])
def test_a_run_goes_on_when_wandb_dies_and_the_next_has_it_again(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], told_after: int
) -> None:
    listener = observer()
    opened(listener, tmp_path / "here", tmp_path)
    (service,) = services_of(os.getpid())
    os.kill(service, signal.SIGKILL)
    told(listener, "transfer", range(1, told_after + 1), 30)
    listener.finish(COMPLETE, tmp_path / "here")
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1, said
    assert said.endswith("; this run goes on without Weights & Biases\n")

    following = observer()
    opened(following, tmp_path / "there", tmp_path)
    told(following, "transfer", range(1, 31), 30)
    following.finish(COMPLETE, tmp_path / "there")
    _, sent = server.runs.values()
    assert [row["transfer/step"] for row in sent["history"]] == [10, 20, 30]


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), "soon"])
def test_a_timeout_must_be_a_time(seconds: object) -> None:
    with pytest.raises(ConfigError, match=f"wandb.finish_timeout={seconds}: "):
        observer(finish_timeout=seconds)


@pytest.mark.slow
def test_a_server_out_of_reach_is_no_reason_to_fail_or_to_wait(tmp_path: Path, cli: Cli) -> None:
    """Two runs at once: where nobody listens, and where nobody answers; then one without W&B."""
    quick = "tracking.observers.wandb.init_timeout=5"
    with silent() as mute:
        began = time.monotonic()
        runs = {
            name: subprocess.Popen(
                command(*ONLINE, quick, f"run_dir={name}", f"outputs=out-{name}"),
                cwd=tmp_path,
                env=os.environ
                | {"WANDB_BASE_URL": url, "WANDB_API_KEY": KEY, "WANDB_MODE": "offline"},
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            for name, url in (("closed", closed()), ("mute", mute))
        }
        errors = {name: run.communicate(timeout=90)[1] for name, run in runs.items()}
        assert time.monotonic() - began < 90
    cli(*TINY, "run_dir=without")
    expected = record_in(tmp_path / "without")
    for name, run in runs.items():
        assert run.returncode == 0, errors[name]
        (line,) = (
            line
            for line in errors[name].splitlines()
            if line.startswith("unlearn: tracking.mode=online: ")
        )
        assert line.endswith(f"offline, send it with: unlearn-sync {name}")
        assert record_in(tmp_path / name)["accuracy"] == expected["accuracy"]
        found = read_back(tmp_path / name)
        assert config_of(found)["config_hash"] == expected["config_hash"]
        assert summary_of(found)["accuracy"] == expected["accuracy"]
        assert curve_of(found, "transfer/step") == [4]
        assert exit_code_of(found) == 0
        assert not services_of(run.pid)


def services_of(pid: int) -> list[int]:
    """The ids of the processes that wandb keeps for a process."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has just ended
            words = file.read_text().split("\0")
            if "wandb-core" in words[0] and str(pid) in words:
                found.append(int(file.parent.name))
    return found
