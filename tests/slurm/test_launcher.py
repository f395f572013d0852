"""What is said where there is no SLURM, and what the launcher makes of a job's result."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hydra.core.utils import JobReturn, JobStatus
from submitit.slurm.slurm import SlurmJob

from hydra_plugins.unlearn_hydra._slurm_jobs import (
    Sent,
    find_outcome,
    locate_result,
    write_result,
)
from tests.helpers.command_line import TINY, command
from tests.helpers.paths import ROOT
from unlearn.errors import ConfigError


def call(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", ["slurm_cpu", "slurm_gpu"])
def test_without_sbatch_it_says_so_before_any_work(tmp_path: Path, name: str) -> None:
    done = call(tmp_path, "-m", *TINY, "seed=0,1", f"hydra/launcher={name}", PATH="")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"unlearn: hydra/launcher={name}: no sbatch here; ")
    assert list(tmp_path.iterdir()) == []


def test_the_node_names_the_packages_that_it_lacks(tmp_path: Path) -> None:
    program = [sys.executable, str(ROOT / "scripts" / "slurm_node.py"), "start"]
    place = ["--folder", str(tmp_path / "node")]
    done = subprocess.run(
        [*program, *place], env={**os.environ, "PATH": ""}, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.endswith("apt-get install munge slurm-wlm\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["slurm_cpu", "slurm_gpu"])
def test_each_default_is_there_and_can_be_typed_over(tmp_path: Path, name: str) -> None:
    show = ["--cfg", "hydra", "--package", "hydra.launcher", f"hydra/launcher={name}"]
    typed = {
        "array_parallelism": 3,
        "timeout_min": 5,
        "max_num_timeout": 1,
        "signal_delay_s": 30,
        "cpus_per_task": 2,
        "mem_gb": 1,
        "gpus_per_node": 2,
        "partition": "short",
        "account": "physics",
        "qos": "low",
        "constraint": "v100",
        "name": "mine",
    }
    words = [f"hydra.launcher.{key}={value}" for key, value in typed.items()]
    composed = [yaml.safe_load(call(tmp_path, *show, *more).stdout) for more in ([], words)]
    assert composed[0]["additional_parameters"] == {"requeue": True}
    assert composed[0]["gpus_per_node"] == (1 if name == "slurm_gpu" else None)
    assert composed[1] == composed[0] | typed


def sent(folder: Path) -> Sent:
    """A job that SLURM has accepted."""
    job: SlurmJob[JobReturn] = SlurmJob(folder / "%j", "7_1")
    job.paths.folder.mkdir()
    return Sent(job, ["seed=1", "hydra.verbose=true"])


BAD = ConfigError("seed", None, "must be given")


@pytest.mark.parametrize(
    ("status", "value", "error"),
    [
        (JobStatus.COMPLETED, 97.5, None),
        (JobStatus.COMPLETED, None, None),
        (JobStatus.FAILED, BAD, str(BAD)),
        (JobStatus.FAILED, ValueError("no such\nthing"), "ValueError: no such thing"),
    ],
)
def test_a_result_is_read_as_the_job_wrote_it(
    tmp_path: Path, status: JobStatus, value: object, error: str | None
) -> None:
    one = sent(tmp_path)
    write_result(one.job.paths, JobReturn(status=status, _return_value=value))
    outcome = find_outcome(one, None)
    assert outcome is not None
    assert outcome.status == status
    if error is None:
        assert outcome.return_value == value
    else:
        assert error in str(outcome._return_value)


class Evil:
    """Code that a pickle would run."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Callable[..., int], tuple[str]]:
        return os.system, (f"touch {self.proof}",)


def test_no_result_is_unpickled(tmp_path: Path) -> None:
    one, proof = sent(tmp_path), tmp_path / "ran"
    one.job.paths.result_pickle.write_bytes(pickle.dumps(Evil(proof)))
    outcome = find_outcome(one, None)
    assert outcome is not None
    assert outcome.status == JobStatus.FAILED
    assert not proof.exists()


@pytest.mark.parametrize("text", ["", "[]", '{"completed": false}', "{"])
def test_a_damaged_result_is_a_failure(tmp_path: Path, text: str) -> None:
    one = sent(tmp_path)
    locate_result(one.job.paths).write_text(text)
    outcome = find_outcome(one, None)
    assert outcome is not None
    assert outcome.status == JobStatus.FAILED


def test_a_job_without_a_result_is_waited_for_until_it_is_gone_for_a_while(tmp_path: Path) -> None:
    one = sent(tmp_path)
    assert find_outcome(one, None) is None, "SLURM was not asked, or did not answer"
    assert find_outcome(one, {"7_1": "RUNNING"}) is None
    assert find_outcome(one, {"7_1": "PREEMPTED"}) is None
    assert one.since is not None
    assert find_outcome(one, {"7_1": "PENDING"}) is None
    assert one.since is None, "requeued: it is not gone"
    assert find_outcome(one, {}) is None
    one.since -= 60
    assert find_outcome(one, None) is None, "nobody has looked meanwhile"
    outcome = find_outcome(one, {"9_0": "RUNNING"})
    assert outcome is not None
    assert "job 7_1 (seed=1)" in str(outcome._return_value)
    assert f"{tmp_path}/7_1/7_1_0_log.err" in str(outcome._return_value)


def test_jobs_that_could_never_make_progress_are_refused(tmp_path: Path) -> None:
    for name in ("sbatch", "srun", "squeue"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    words = ["hydra/launcher=slurm_cpu", "hydra.launcher.timeout_min=2"]
    done = call(tmp_path, "-m", *TINY, "seed=0,1", *words, PATH=path)
    assert done.returncode == 2
    assert "hydra.launcher.signal_delay_s=120: " in done.stderr
    assert not (tmp_path / "outputs").exists()
