"""What is said where there is no SLURM, and what the launcher makes of a job's result."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hydra.core.utils import JobReturn, JobStatus
from submitit.slurm.slurm import SlurmJob

from hydra_plugins.unlearn_hydra._slurm_jobs import Sent, _outcome
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


def sent(folder: Path, *result: object) -> Sent:
    """A job of SLURM's; with what it left as a result, if it did."""
    job: SlurmJob[JobReturn] = SlurmJob(folder / "%j", "7_1")
    job.paths.folder.mkdir()
    if result:
        job.paths.result_pickle.write_bytes(
            result[0] if isinstance(result[0], bytes) else pickle.dumps(result)
        )
    return Sent(job, ["seed=1", "hydra.verbose=true"])


BAD = ConfigError("seed", None, "must be given")


@pytest.mark.parametrize(
    ("left", "error"),
    [
        (("success", JobReturn(status=JobStatus.FAILED, _return_value=BAD)), str(BAD)),
        (("error", "Traceback ...\nValueError: no such thing\n"), "ValueError: no such thing"),
        ((b"half a pickle",), "its result cannot be read (UnpicklingError"),
    ],
)
def test_what_a_failed_job_leaves_is_a_failure(
    tmp_path: Path, left: tuple[object, ...], error: str
) -> None:
    outcome = _outcome(sent(tmp_path, *left), None)
    assert outcome is not None
    assert outcome.status == JobStatus.FAILED
    assert error in str(outcome._return_value)


def test_a_job_without_a_result_is_waited_for_until_it_is_gone_for_a_while(tmp_path: Path) -> None:
    one = sent(tmp_path)
    assert _outcome(one, None) is None, "SLURM was not asked, or did not answer"
    assert _outcome(one, {"7_1": "RUNNING"}) is None
    assert _outcome(one, {"7_1": "PREEMPTED"}) is None
    assert one.since is not None
    assert _outcome(one, {"7_1": "PENDING"}) is None
    assert one.since is None, "requeued: it is not gone"
    assert _outcome(one, {}) is None
    one.since -= 60
    assert _outcome(one, None) is None, "nobody has looked meanwhile"
    outcome = _outcome(one, {"9_0": "RUNNING"})
    assert outcome is not None
    assert str(outcome._return_value) == (
        "job 7_1 (seed=1): ended without a result (SLURM's last word of it: PENDING); "
        f"its log: {tmp_path}/7_1/7_1_0_log.err"
    )
