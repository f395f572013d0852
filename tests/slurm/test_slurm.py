"""A real SLURM of one node: what is killed, requeued or orphaned goes on, and no run is lost."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

from tests.helpers.cluster import GRID, ON_CPU, QUICK, SLOW, SLOWLY, Cluster, two
from tests.helpers.command_line import TINY, command, record_in
from tests.helpers.pages import play
from tests.helpers.paths import ROOT, SCHEMA

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The node's folder; `scripts/slurm_node.py` starts and stops it as a user would."""
    folder = tmp_path_factory.mktemp("node")
    program = [sys.executable, str(ROOT / "scripts" / "slurm_node.py")]
    place = ["--folder", str(folder), "--cpus", "2"]
    began = subprocess.run([*program, "start", *place], capture_output=True, text=True)
    if began.returncode == 2:
        pytest.skip(f"no SLURM here: {began.stderr.strip()}")
    assert began.returncode == 0, began.stderr
    assert began.stdout.strip() == f"export SLURM_CONF={folder}/slurm.conf"
    yield folder
    subprocess.run([*program, "stop", *place], check=True)
    status = subprocess.run([*program, "status", *place], capture_output=True, text=True)
    assert status.returncode == 1, "it has ended"


@pytest.fixture
def cluster(node: Path, tmp_path: Path) -> Cluster:
    return Cluster(node, tmp_path)


def test_a_sweep_that_everything_happens_to(cluster: Cluster) -> None:
    """Twelve runs; cancelled, preempted, requeued, with the controller and the launcher gone."""
    cluster.call(*command("-m", *QUICK, "forget=[0]", GRID[1], "outputs=whole"))
    shutil.copytree(cluster.home / "whole" / "cache", cluster.home / "outputs" / "cache")
    (cluster.home / "slow.py").write_text(SLOW)
    launcher = cluster.launch("-m", *SLOWLY, *GRID, *ON_CPU)

    preempted = cluster.until("two runs have a checkpoint", lambda: two(cluster.running()))
    cluster.call("sbatch", "--partition=high", "--cpus-per-task=2", "--wrap=sleep 2")
    cluster.until("both are preempted", lambda: all(waits(cluster, job) for job in preempted))

    others = cluster.until("two more have one", lambda: two(cluster.running()))
    cancelled, signalled = sorted(others)
    assert not preempted.keys() & others.keys()
    cluster.call("scancel", cancelled)
    with cluster.signal(signalled):
        cluster.until("one has requeued itself", lambda: waits(cluster, signalled))
    assert "Restarts=1" in cluster.call("scontrol", "show", "job", signalled)
    cluster.until("one is gone", lambda: cluster.states()[cancelled] == "CANCELLED")

    cluster.until("others run", lambda: "RUNNING" in cluster.states().values())
    going = [job for job, state in cluster.states().items() if state == "RUNNING"]
    program = [sys.executable, str(ROOT / "scripts" / "slurm_node.py"), "restart-controller"]
    cluster.call(*program, "--folder", str(cluster.node))
    assert {cluster.states()[job] for job in going} <= {"RUNNING", "COMPLETING", "COMPLETED"}

    cluster.until("the launcher tells of the cancelled run", lambda: "CANCELLED" in cluster.told())
    assert f"job {cancelled} (" in cluster.told()
    assert cluster.told().count("unlearn: job ") == 1, "requeued is not failed"
    assert launcher.poll() is None
    assert not idle(cluster), "jobs are still to run"
    launcher.kill()
    launcher.wait()
    cluster.say("the launching process is killed")
    cluster.until("the jobs have gone on and ended", lambda: idle(cluster), 300)

    written = {path: path.stat().st_mtime_ns for path in cluster.records()}
    assert len(written) == 11
    assert (others[cancelled] / "resume.pt").exists()
    launcher = cluster.launch("-m", *SLOWLY, *GRID, *ON_CPU)
    assert launcher.wait(timeout=300) == 0, cluster.told()
    cluster.say("launched again: exit 0")
    assert {p: p.stat().st_mtime_ns for p in written} == written, "finished runs are left alone"
    check_records(cluster, [*preempted.values(), *others.values()])


def waits(cluster: Cluster, job: str) -> bool:
    return cluster.states().get(job) == "PENDING"


def idle(cluster: Cluster) -> bool:
    return not {"PENDING", "RUNNING", "COMPLETING"} & set(cluster.states().values())


def check_records(cluster: Cluster, interrupted: list[Path]) -> None:
    """All twelve are there, whole, once; the interrupted as if they had not been interrupted."""
    schema = json.loads(SCHEMA.read_text())
    paths = cluster.records()
    records = [record_in(path.parent) for path in paths]
    for record in records:
        jsonschema.validate(record, schema)
    assert [record["status"] for record in records] == ["complete"] * 12
    assert len({record["config_hash"] for record in records}) == 12
    assert not [*cluster.home.glob("outputs/**/.*.partial"), *cluster.home.rglob("resume.pt")]
    whole = {start_of(path.parent): path.parent for path in cluster.records("whole")}
    assert len(interrupted) == len(whole) == 4
    for part in interrupted:
        directory = part.parent / part.name[1:].removesuffix(".partial")
        record, unbroken = record_in(directory), whole[start_of(directory)]
        assert record["resumed"] >= 1
        assert student_in(directory) == student_in(unbroken)
        assert record["accuracy"] == record_in(unbroken)["accuracy"]
        cluster.say(f"{directory.name}: resumed {record['resumed']}, ends in the same bits")


def start_of(directory: Path) -> float:
    start: float = record_in(directory)["config"]["method"]["start"]
    return start


def student_in(directory: Path) -> bytes:
    return (directory / "student.safetensors").read_bytes()


def test_failed_jobs_do_not_end_the_waiting_for_the_others(cluster: Cluster) -> None:
    """One filter lets nothing through, one job is cancelled: exit 1, and the rest are complete."""
    sweep = ["filter.entropy=1e-6,null", "seed=0,1"]
    launcher = cluster.launch("-m", *TINY, *sweep, *ON_CPU)
    cluster.until("all are submitted", lambda: "SLURM job" in cluster.told())
    number = cluster.told().split("SLURM job ")[1].split(";")[0]
    cluster.call("scancel", f"{number}_3")
    assert launcher.wait(timeout=300) == 1, cluster.told()
    cluster.say("what the launch said:\n" + cluster.told())
    said = {line for line in cluster.told().splitlines() if line.startswith("unlearn: job ")}
    assert len(said) == 3
    assert len([line for line in said if "lets no generated sample through" in line]) == 2
    (lost,) = [line for line in said if f"job {number}_3 (" in line]
    assert "seed=1): ended without a result (" in lost
    assert "its log: " in lost
    statuses = [record_in(path.parent)["status"] for path in cluster.records()]
    assert sorted(statuses) == ["complete"] + ["failed"] * 2


def test_a_run_out_of_time_is_left_to_go_on_with(cluster: Cluster) -> None:
    """It ends without a record of failure, so that the next launch resumes it."""
    (cluster.home / "slow.py").write_text(SLOW)
    short = ["hydra.launcher.timeout_min=5", "hydra.launcher.max_num_timeout=0"]
    launcher = cluster.launch("-m", *SLOWLY, "seed=0", *ON_CPU, *short)
    folder = cluster.home / "outputs" / "digits-lenet" / "gkt" / "forget-0"
    cluster.until("it has a checkpoint", lambda: [*folder.glob(".seed-0-*.partial/resume.pt")])
    number = cluster.told().split("SLURM job ")[1].split(";")[0]
    with cluster.signal(number):
        cluster.until("the job ends", lambda: cluster.states()[f"{number}_N/A"] == "FAILED")
    assert launcher.wait(timeout=120) == 1
    assert "ended without a result (the last state that SLURM gave is FAILED)" in cluster.told()
    assert cluster.records() == []

    launcher = cluster.launch("-m", *SLOWLY, "seed=0", *ON_CPU)
    assert launcher.wait(timeout=240) == 0, cluster.told()
    (path,) = cluster.records()
    assert record_in(path.parent)["resumed"] == 1


def test_a_gpu_job_asks_for_what_was_typed(cluster: Cluster) -> None:
    typed = {
        "partition": "high",
        "account": "physics",
        "timeout_min": 7,
        "mem_gb": 1,
        "cpus_per_task": 2,
        "array_parallelism": 1,
        "+additional_parameters.nice": 3,
    }
    words = [
        f"{'+' if key.startswith('+') else ''}hydra.launcher.{key.lstrip('+')}={value}"
        for key, value in typed.items()
    ]
    launcher = cluster.launch("-m", *TINY, "seed=0,1", "hydra/launcher=slurm_gpu", *words)
    cluster.until("all are submitted", lambda: "SLURM job" in cluster.told())
    number = cluster.told().split("SLURM job ")[1].split(";")[0]
    shown = cluster.call("scontrol", "show", "job", f"{number}_0")
    for part in (
        "Partition=high",
        "Account=physics",
        "TimeLimit=00:07:00",
        "MinMemoryNode=1G",
        "CPUs/Task=2",
        "ArrayTaskThrottle=1",
        "Nice=3",
        "Requeue=1",
        "TresPerNode=gres:gpu:1",
        "JobName=unlearn",
    ):
        assert part in shown, shown
    assert launcher.wait(timeout=120) == 0, cluster.told()
    assert len(cluster.records()) == 2


def test_what_sbatch_refuses_is_one_line(cluster: Cluster) -> None:
    launcher = cluster.launch("-m", *TINY, "seed=0,1", *ON_CPU, "hydra.launcher.partition=nope")
    assert launcher.wait(timeout=60) == 2
    line = cluster.told().splitlines()[-1]
    assert "Traceback" not in cluster.told()
    assert "hydra/launcher=slurm_cpu: sbatch refuses" in line
    assert "invalid partition specified: nope" in line


def test_the_page_on_slurm(cluster: Cluster) -> None:
    done = play("guide/slurm.md", cluster.home, SLURM_CONF=cluster.environment["SLURM_CONF"])
    assert "4 runs: 4 new" in done[0][1].stderr
    assert "SLURM job " in done[0][1].stderr
    assert len(list(cluster.home.rglob("record.json"))) == 4
    assert "gpus_per_node: 1" in done[1][1].stdout
