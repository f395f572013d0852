"""SLURM jobs: submitted as one array, waited for until each has a result or is gone."""

from __future__ import annotations

import contextlib
import io
import math
import pickle
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import submitit
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, filter_overrides
from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf
from hydra_plugins.hydra_submitit_launcher.submitit_launcher import BaseSubmititLauncher
from omegaconf import OmegaConf
from submitit.core.utils import FailedJobError, FailedSubmissionError

from unlearn.errors import ConfigError, RunError, UnlearnError, say

_LOOK_S = 1.0  # between two looks at the results' files
_ASK_S = 10.0  # between two questions to SLURM's controller
# So long a job may be unknown to SLURM, or ended, while its result is still on its way over the
# file system, or while it is put back into the queue.
_GRACE_S = 20.0
_ENDED = {
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "REVOKED",
    "TIMEOUT",
}


@dataclass
class Sent:
    """A job that SLURM has taken.

    Args:
        job: of submitit.
        overrides: what the job's run was asked for with.
        state: in which SLURM saw it last.
        since: when it was first seen neither waiting nor running, by `time.monotonic`.
    """

    job: submitit.Job[JobReturn]
    overrides: list[str]
    state: str = "nothing"
    since: float | None = None

    def failed(self, what: object) -> JobReturn:
        """What it came to if this went wrong."""
        asked = ",".join(filter_overrides(self.overrides))
        log = self.job.paths.stderr
        error = RunError(f"job {self.job.job_id} ({asked}): {what}; its log: {log}")
        return JobReturn(self.overrides, status=JobStatus.FAILED, _return_value=error)


def submit(
    launcher: BaseSubmititLauncher,
    choice: str,
    job_overrides: Sequence[Sequence[str]],
    first: int,
) -> list[Sent]:
    """Submit one job for each list of overrides, as an array.

    Args:
        launcher: is called in each job; holds the parameters.
        choice: the name of its config.
        job_overrides: of the jobs.
        first: number of the first job in the sweep.

    Raises:
        ConfigError: with what sbatch says, if it refuses.
    """
    parameters = dict(launcher.params)
    executor = submitit.AutoExecutor(
        folder=parameters.pop("submitit_folder"),
        cluster="slurm",
        slurm_max_num_timeout=parameters.pop("max_num_timeout"),
    )
    common = set(OmegaConf.structured(BaseQueueConf))
    executor.update_parameters(
        **{key if key in common else f"slurm_{key}": value for key, value in parameters.items()}
    )
    state = Singleton.get_state()
    calls = [
        (list(overrides), "hydra.sweep.dir", number, f"job_id_for_{number}", state)
        for number, overrides in enumerate(job_overrides, first)
    ]
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # submitit prints what it raises
            jobs = executor.map_array(launcher, *zip(*calls, strict=True))
    except (FailedJobError, FailedSubmissionError) as error:
        raise ConfigError("hydra/launcher", choice, f"sbatch refuses: {error}") from error
    sent = [Sent(job, list(o)) for job, o in zip(jobs, job_overrides, strict=True)]
    number = jobs[0].job_id.split("_")[0]
    say(
        f"SLURM job {number}; to run: {len(jobs)}, also if this command ends; "
        f"scancel {number} ends them; logs in {jobs[0].paths.folder.parent}"
    )
    return sent


def wait_for_all(sent: Sequence[Sent]) -> list[JobReturn]:
    """What each job came to, in order, once none is left; failures are told as they come."""
    results: dict[int, JobReturn] = {}
    reports = _reports()
    while True:
        report = next(reports)
        for index, one in enumerate(sent):
            if index not in results and (ended := _outcome(one, report)) is not None:
                results[index] = ended
                if ended.status == JobStatus.FAILED:
                    say(str(ended._return_value))
        if len(results) == len(sent):
            return [results[index] for index in range(len(sent))]
        time.sleep(_LOOK_S)


def _outcome(one: Sent, report: dict[str, str] | None) -> JobReturn | None:
    """The job's result, its failure if it has ended without one, or None: not yet."""
    folder = one.job.paths.folder
    with contextlib.suppress(OSError):
        folder.chmod(folder.stat().st_mode)  # has a network file system look again
    if one.job.paths.result_pickle.exists():
        return _result(one)
    if report is None:
        return None
    state = report.get(one.job.job_id)
    one.state = state or one.state
    if state is not None and state not in _ENDED:
        one.since = None
        return None
    one.since = one.since or time.monotonic()
    if time.monotonic() - one.since < _GRACE_S:
        return None
    return one.failed(f"ended without a result (SLURM's last word of it: {one.state})")


def _result(one: Sent) -> JobReturn:
    try:
        outcome, value = pickle.loads(one.job.paths.result_pickle.read_bytes())
    except Exception as error:  # whatever an object's own unpickling may raise
        return one.failed(f"its result cannot be read ({type(error).__name__}: {error})")
    if outcome == "error":
        return one.failed(str(value).strip().splitlines()[-1])
    assert isinstance(value, JobReturn)
    if value.status == JobStatus.COMPLETED:
        return value
    reason = value._return_value
    known = isinstance(reason, UnlearnError)
    return one.failed(reason if known else f"{type(reason).__name__}: {reason}")


def _reports() -> Iterator[dict[str, str] | None]:
    """At each look, the states of the user's jobs by number, or None: not asked, or no answer."""
    asked, silent = -math.inf, False
    while True:
        if time.monotonic() - asked < _ASK_S:
            yield None
            continue
        asked = time.monotonic()
        states = _states()
        if states is None and not silent:
            say("SLURM's controller does not answer; waiting on")
        silent = states is None
        yield states


def _states() -> dict[str, str] | None:
    """All of the user's jobs that SLURM's controller knows, and their states; None: no answer.

    Asked for all, squeue fails only if there is no answer; asked for one, also if it is long gone.
    """
    words = ["squeue", "--me", "--array", "--noheader", "--states=all", "--format=%F %K %T"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return None
    states = {}
    for line in done.stdout.splitlines():
        array, task, state = line.split()
        states[array if task == "N/A" else f"{array}_{task}"] = state
    return states
