"""A launcher for SLURM that loses no job; slow imports wait until it launches."""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from hydra.core.utils import JobReturn
from hydra.types import HydraContext, TaskFunction
from hydra_plugins.hydra_submitit_launcher import submitit_launcher
from omegaconf import DictConfig

from unlearn.errors import ConfigError

_REQUEUE_S = 15  # seconds before its time is over at which a job is requeued at the latest


class SlurmLauncher(submitit_launcher.SlurmLauncher):  # type: ignore[misc]
    """Submits a batch as one array job, as its base does, and waits for all of it.

    A job that SLURM ended without a result counts as failed, in one line; no accounting database
    is asked. A job that finally runs out of time leaves its run unfinished, not failed: the next
    launch goes on with it.
    """

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.directories: dict[tuple[str, ...], Path] = {}  # of the runs, by their words

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what a launch needs.

        Raises:
            ConfigError: If there is no SLURM here, or if the jobs could never make progress.
        """
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        for program in ("sbatch", "srun", "squeue"):
            if shutil.which(program) is None:
                raise ConfigError(
                    "hydra/launcher",
                    config.hydra.runtime.choices["hydra/launcher"],
                    f"no {program} here; launch where SLURM's commands are, or choose joblib, "
                    "which uses the cores of this machine",
                )
        delay, minutes = self.params["signal_delay_s"], self.params["timeout_min"]
        if delay >= 60 * minutes:
            raise ConfigError(
                "hydra.launcher.signal_delay_s",
                delay,
                f"must be less than the time of a job, {60 * minutes} s "
                f"(hydra.launcher.timeout_min={minutes}): otherwise a job is requeued as it begins",
            )

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Submit the jobs, and return what each came to, in order, when all have ended.

        Raises:
            ConfigError: If sbatch refuses them.
        """
        from hydra_plugins.unlearn_hydra._slurm_jobs import submit, wait_for_all

        assert self.config is not None
        choice = self.config.hydra.runtime.choices["hydra/launcher"]
        return wait_for_all(submit(self, choice, job_overrides, initial_job_idx, self.directories))

    def __call__(self, *arguments: Any) -> JobReturn:
        """Do one job; this runs on the cluster's node."""
        import submitit

        from hydra_plugins.unlearn_hydra._slurm_jobs import write_result

        environment = submitit.JobEnvironment()
        number = getattr(signal, f"SIG{environment.USR_SIG}")
        _requeue_at_the_end(number, self.params["signal_delay_s"])
        # If an attempt was killed while it wrote its result, this file would stop the next one.
        result = environment.paths.result_pickle
        result.with_name(f"{result.name}.save_tmp").unlink(missing_ok=True)
        done: JobReturn = super().__call__(*arguments)
        write_result(environment.paths, done)
        return done


def _requeue_at_the_end(number: signal.Signals, delay: int) -> None:
    """Let a job that is out of time write a checkpoint, and then let submitit requeue it.

    If the job may not be requeued again, it ends without a record: the exception that submitit
    raises then would be recorded as the run's own failure.

    Args:
        number: The signal that SLURM sends before the time is over.
        delay: Seconds between that signal and the end.
    """
    from submitit.core.utils import UncompletedJobError

    from unlearn.resume import interruption

    requeue = signal.getsignal(number)
    assert callable(requeue)

    def stop(signum: int, frame: FrameType | None) -> None:
        try:
            requeue(number, frame)
        except UncompletedJobError as error:
            sys.exit(str(error))

    def handle(signum: int, frame: FrameType | None) -> None:
        interruption.request(lambda: stop(signum, frame))
        signal.alarm(max(1, delay - _REQUEUE_S))

    signal.signal(signal.SIGALRM, stop)  # no checkpoint was written in time
    signal.signal(number, handle)
