"""Finished runs are skipped, killed ones leave nothing half-written, parallel ones run once."""

import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.helpers.command_line import (
    TINY,
    Cli,
    can_mount,
    command,
    one_line,
    record_in,
    run_privately,
    said_in,
    surroundings,
)


def run_directories(outputs: Path) -> list[Path]:
    """Every visible run directory: those that are not the cache and hold no hidden part."""
    return [
        path
        for path in outputs.rglob("seed-*")
        if path.is_dir() and not any(p.startswith(".") for p in path.relative_to(outputs).parts)
    ]


def test_a_finished_run_is_skipped_unless_forced(cli: Cli, tmp_path: Path) -> None:
    cli(*TINY)
    (directory,) = run_directories(tmp_path / "outputs")
    written = (directory / "record.json").stat().st_mtime_ns

    again = cli(*TINY)
    assert str(directory) in again.stdout
    assert said_in(again) == [f"unlearn: {directory}: was done before; force=true does it again"]
    assert (directory / "record.json").stat().st_mtime_ns == written

    cli(*TINY, "force=true")
    assert (directory / "record.json").stat().st_mtime_ns > written
    assert run_directories(tmp_path / "outputs") == [directory]


def test_run_dir_is_used_exactly_and_never_mixed(cli: Cli, tmp_path: Path) -> None:
    cli(*TINY, "run_dir=mine")
    other = cli(*TINY, "run_dir=mine", "seed=5", code=2)
    assert "run_dir" in other.stderr
    assert record_in(tmp_path / "mine")["seed"] == 0
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "thesis.txt").write_text("years of work")
    for forced in ("false", "true"):
        refused = cli(*TINY, "run_dir=papers", f"force={forced}", code=2)
        assert "holds files that are no run" in refused.stderr
    assert (tmp_path / "papers" / "thesis.txt").read_text() == "years of work"


def test_a_failed_run_replaces_no_complete_one(cli: Cli, tmp_path: Path) -> None:
    cli(*TINY, "run_dir=mine")
    cli(*TINY, "run_dir=mine", "force=true", "method.learning_rate=1e30", code=1)
    assert record_in(tmp_path / "mine")["status"] == "complete"
    assert record_in(tmp_path / "mine.failed")["status"] == "failed"
    cli(*TINY, "run_dir=mine", "force=true", "seed=1")
    assert record_in(tmp_path / "mine")["seed"] == 1
    assert not (tmp_path / "mine.failed").exists()


@pytest.mark.slow
@pytest.mark.parametrize("trial", range(4))
def test_kill_leaves_nothing_half_written(cli: Cli, tmp_path: Path, trial: int) -> None:
    longer = [*TINY, "method.iterations=400", "run_dir=killed"]
    process = subprocess.Popen(
        command(*longer),
        cwd=tmp_path,
        env=surroundings(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    partial = tmp_path / ".killed.partial"
    deadline = time.monotonic() + 120
    while not partial.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert partial.exists()
    time.sleep(random.Random(trial).uniform(0.0, 2.0))
    assert process.poll() is None, "the run ended before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.wait()

    assert not (tmp_path / "killed").exists()
    for cached in (tmp_path / "outputs" / "cache").glob("*/model.json"):
        assert (cached.parent / "model.safetensors").stat().st_size > 0

    cli(*TINY, "run_dir=killed")
    assert record_in(tmp_path / "killed")["status"] == "complete"
    assert not partial.exists()


# A user's own method, which leaves a mark each time that it really runs.
COUNTING = """
import time
from unlearn.methods.original import Original

class Counting(Original):
    def unlearn(self, request, data):
        open("runs.txt", "a").write("run\\n")
        time.sleep(2)
        yield from super().unlearn(request, data)
"""


def test_parallel_launches_of_one_run_do_it_once(tmp_path: Path) -> None:
    (tmp_path / "counting.py").write_text(COUNTING)
    quick = [a for a in TINY if not a.startswith("method")]
    processes = [
        subprocess.Popen(
            command(*quick, "method=original", "method._target_=counting.Counting"),
            cwd=tmp_path,
            env=surroundings(PYTHONPATH=str(tmp_path)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=200) for process in processes]

    assert [process.returncode for process in processes] == [0, 0], outputs
    assert (tmp_path / "runs.txt").read_text() == "run\n", "the other waited and found it done"
    (directory,) = run_directories(tmp_path / "outputs")
    assert all(str(directory) in out for out, _ in outputs)
    assert len(list((tmp_path / "outputs" / "cache").glob("teacher-*"))) == 1


def test_teacher_and_reference_are_shared_between_runs(cli: Cli, tmp_path: Path) -> None:
    for arguments in (["forget=[0]"], ["forget=[1]"], ["forget=[1]", "method.start=0.9"]):
        cli(*TINY, *arguments)
    cache = tmp_path / "outputs" / "cache"
    assert len(list(cache.glob("teacher-*"))) == 1
    assert len(list(cache.glob("retrained-*"))) == 2


def student_of(directory: Path) -> bytes:
    return (directory / "student.safetensors").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["gkt", "inversion"])
def test_a_killed_run_resumes_bit_for_bit(cli: Cli, tmp_path: Path, method: str) -> None:
    longer = {
        "gkt": ["method.iterations=120", "method.batch_size=16"],
        "inversion": ["model=allcnn", "model.width=0.1", "method.inversion_steps=150"],
    }[method]
    words = [a for a in TINY if not a.startswith("method") and a.split("=")[0] not in longer]
    words += [f"method={method}", *longer, "evaluation.every=10", "checkpoint_every=0"]
    cli(*words, "run_dir=whole", "checkpoint_every=null", "outputs=one")

    moments, killed = random.Random(method), 0
    for attempt in range(12):
        process = subprocess.Popen(
            command(*words, "run_dir=parts", "outputs=other"),
            cwd=tmp_path,
            env=surroundings(),
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        kept, deadline = tmp_path / ".parts.partial" / "resume.pt", time.monotonic() + 120
        before = kept.stat().st_mtime_ns if kept.exists() else 0
        while process.poll() is None and time.monotonic() < deadline:
            if kept.exists() and kept.stat().st_mtime_ns > before and killed < 3:
                time.sleep(moments.uniform(0, 0.4))
                process.kill()
                killed += 1
                break
            time.sleep(0.01)
        process.wait()
        if (tmp_path / "parts").exists():
            break
        assert attempt < 11, process.stderr.read() if process.stderr else ""
    record = record_in(tmp_path / "parts")
    assert record["status"] == "complete"
    assert record["resumed"] >= 1, "the run was cut off while the method worked"
    assert student_of(tmp_path / "parts") == student_of(tmp_path / "whole")
    unbroken = record_in(tmp_path / "whole")
    assert record["accuracy"] == unbroken["accuracy"]
    assert record["onset"] == unbroken["onset"], "the history before the cut is kept"
    assert not (tmp_path / "parts" / "resume.pt").exists()


def quoted(*words: str) -> str:
    return " ".join(f"'{word}'" for word in command(*words))


needs_mounts = pytest.mark.skipif(not can_mount(), reason="nothing can be mounted here")


@needs_mounts
def test_a_finished_run_is_found_on_a_disk_that_nobody_can_write(cli: Cli, tmp_path: Path) -> None:
    cli(*TINY)
    one, plan, sweep, new = (
        run_privately(
            "mkdir -p disk && mount -t tmpfs tmpfs disk && cp -r outputs disk && "
            f"mount -o remount,ro disk && cd disk && {quoted(*words)}",
            tmp_path,
        )
        for words in (
            TINY,
            [*TINY, "launch=plan"],
            ["-m", *TINY, "seed=0,1", "launch=plan"],
            [*TINY, "seed=1"],
        )
    )
    assert one.returncode == 0, one.stderr
    assert "was done before" in one.stderr
    assert plan.stderr == "unlearn: 1 runs: 1 done\n"
    assert sweep.returncode == 0
    assert sweep.stderr.startswith("unlearn: 2 runs: 1 done, 1 new; ")
    assert new.returncode == 2
    one_line(new, ["outputs=outputs: cannot be written"])


@needs_mounts
def test_a_full_disk_is_explained(tmp_path: Path) -> None:
    """Refused if it is too small from the start; explained if it fills up during the run."""
    (tmp_path / "small").mkdir()
    tiny = quoted(*TINY, "outputs=small", "run_dir=small/run")
    full = run_privately(f"mount -t tmpfs -o size=4m tmpfs small && {tiny}", tmp_path)
    assert full.returncode == 2
    one_line(full, ["MiB free", "run_dir"])
    filling = run_privately(
        "mount -t tmpfs -o size=12m tmpfs small && "
        f"({tiny} & main=$!; "
        "while [ ! -e small/.run.partial ]; do sleep 0.05; done; "
        "head -c 12000000 /dev/zero > small/fill 2>/dev/null; wait $main)",
        tmp_path,
    )
    assert filling.returncode == 1
    one_line(filling, ["disk is full"])


def test_a_folder_without_locks_is_refused_at_once(cli: Cli) -> None:
    for words in (["run_dir=/proc/nope"], ["outputs=/proc/nope"]):
        refused = cli(*TINY, *words, code=2)
        assert refused.stderr.count("\n") == 1
        assert refused.stderr.startswith(f"unlearn: {words[0]}: cannot be written")


def test_a_job_without_a_result_does_not_stop_the_others(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "run-0").symlink_to(tmp_path / "nowhere")
    swept = cli("-m", *TINY, "seed=0,1", "run_dir=run-${seed}", code=2)
    assert f"{tmp_path}/run-0 is a link" in swept.stderr
    assert record_in(tmp_path / "run-1")["status"] == "complete"
