"""SLURM jobs: submitted as one array, waited for until each has a result or is gone."""

from __future__ import annotations

import contextlib
import io
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import submitit
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, filter_overrides
from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf
from hydra_plugins.hydra_submitit_launcher.submitit_launcher import BaseSubmititLauncher
from omegaconf import OmegaConf
from submitit.core.utils import FailedJobError, FailedSubmissionError, JobPaths

from unlearn.errors import ConfigError, RunError, UnlearnError, say
from unlearn.records.queue import ENDED, note_job, read_states
from unlearn.records.record import write_json

_LOOK_S = 1.0  # seconds between two looks at the result files
_ASK_S = 10.0  # seconds between two questions to SLURM's controller
# Seconds for which a job may be ended or unknown to SLURM before it counts as gone: its result may
# still be on its way over the file system, or the job may be put back into the queue.
_GRACE_S = 20.0


@dataclass
class Sent:
    """A job that SLURM has accepted.

    Args:
        job: submitit's job.
        overrides: The words that ask for the job's run.
        state: The last state that SLURM gave.
        since: When the job was first seen neither waiting nor running, by `time.monotonic`.
    """

    job: submitit.Job[JobReturn]
    overrides: list[str]
    state: str = "nothing"
    since: float | None = None

    def failed(self, what: object) -> JobReturn:
        """Return the outcome of a failed job.

        Args:
            what: What went wrong.
        """
        asked = ",".join(filter_overrides(self.overrides))
        log = self.job.paths.stderr
        error = RunError(f"job {self.job.job_id} ({asked}): {what}; its log: {log}")
        return JobReturn(self.overrides, status=JobStatus.FAILED, _return_value=error)


def submit(
    launcher: BaseSubmititLauncher,
    choice: str,
    job_overrides: Sequence[Sequence[str]],
    first: int,
    directories: Mapping[tuple[str, ...], Path],
) -> list[Sent]:
    """Submit one job for each list of overrides, as an array.

    Args:
        launcher: The launcher; it is called in each job and holds the parameters.
        choice: The name of the launcher's config.
        job_overrides: The words of each job.
        first: The number of the first job in the sweep.
        directories: The run directory of each job, by its words; each gets a note of its job.

    Raises:
        ConfigError: If sbatch refuses the jobs, with its reason.
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
    for one in sent:
        if (directory := directories.get(tuple(one.overrides))) is not None:
            note_job(directory, one.job.job_id)
    number = jobs[0].job_id.split("_")[0]
    say(
        f"SLURM job {number}; to run: {len(jobs)}, also if this command ends; "
        f"scancel {number} ends them; logs in {jobs[0].paths.folder.parent}"
    )
    return sent


def wait_for_all(sent: Sequence[Sent]) -> list[JobReturn]:
    """Return what each job came to, in order, when all have ended; print failures as they come."""
    results: dict[int, JobReturn] = {}
    reports = _reports()
    while True:
        report = next(reports)
        for index, one in enumerate(sent):
            if index not in results and (ended := find_outcome(one, report)) is not None:
                results[index] = ended
                if ended.status == JobStatus.FAILED:
                    say(str(ended._return_value))
        if len(results) == len(sent):
            return [results[index] for index in range(len(sent))]
        time.sleep(_LOOK_S)


def find_outcome(one: Sent, report: dict[str, str] | None) -> JobReturn | None:
    """Return what the job came to, or None if it has not ended yet."""
    folder = one.job.paths.folder
    with contextlib.suppress(OSError):
        folder.chmod(folder.stat().st_mode)  # makes a network file system look again
    if locate_result(one.job.paths).exists():
        return _read_result(one)
    if one.job.paths.result_pickle.exists():
        return one.failed("failed before the run began")
    if report is None:
        return None
    state = report.get(one.job.job_id)
    one.state = state or one.state
    if state is not None and state not in ENDED:
        one.since = None
        return None
    one.since = one.since or time.monotonic()
    if time.monotonic() - one.since < _GRACE_S:
        return None
    return one.failed(f"ended without a result (the last state that SLURM gave is {one.state})")


def locate_result(paths: JobPaths) -> Path:
    """Return the file in which a job leaves its result.

    It is JSON: submitit's own result is a pickle, and unpickling a file from the outputs folder
    would run whatever code somebody put there.
    """
    return Path(paths.result_pickle).with_suffix(".json")


def write_result(paths: JobPaths, done: JobReturn) -> None:
    """Write what a job came to; this runs on the cluster's node."""
    value = done._return_value
    if done.status == JobStatus.COMPLETED:
        result: dict[str, Any] = {"completed": True, "value": value}
    else:
        known = isinstance(value, UnlearnError)
        result = {"completed": False, "error": str(value) if known else describe(value)}
    write_json(locate_result(paths), result)


def describe(error: object) -> str:
    """Return an error's class and message in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def _read_result(one: Sent) -> JobReturn:
    try:
        result = json.loads(locate_result(one.job.paths).read_text())
        completed, value = result["completed"], result.get("value")
        said = None if completed else str(result["error"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return one.failed(f"its result cannot be read ({describe(error)})")
    if said is not None:
        return one.failed(said)
    return JobReturn(one.overrides, status=JobStatus.COMPLETED, _return_value=value)


def _reports() -> Iterator[dict[str, str] | None]:
    """Yield the states of the user's jobs by number; None if SLURM was not asked or is silent."""
    asked, silent = -math.inf, False
    while True:
        if time.monotonic() - asked < _ASK_S:
            yield None
            continue
        asked = time.monotonic()
        states = read_states()
        if states is None and not silent:
            say("SLURM's controller does not answer; waiting on")
        silent = states is None
        yield states
