"""A launcher for SLURM that loses no job; what is slow to import waits until it launches."""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any

from hydra.core.utils import JobReturn
from hydra.types import HydraContext, TaskFunction
from hydra_plugins.hydra_submitit_launcher import submitit_launcher
from omegaconf import DictConfig

from unlearn.errors import ConfigError


class SlurmLauncher(submitit_launcher.SlurmLauncher):  # type: ignore[misc]
    """Submits a batch as one array job, as its base does, and waits for all of it.

    A job that SLURM ended without a result counts as failed, in one line; no accounting database
    is asked. A job that runs out of time for good leaves its run unfinished, not failed, so that
    the next launch goes on with it.
    """

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what a launch needs.

        Raises:
            ConfigError: if there is no SLURM here.
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

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Submit the jobs; what each came to, in their order, when all have ended.

        Raises:
            ConfigError: if sbatch refuses them.
        """
        from hydra_plugins.unlearn_hydra._slurm_jobs import submit, wait_for_all

        assert self.config is not None
        choice = self.config.hydra.runtime.choices["hydra/launcher"]
        return wait_for_all(submit(self, choice, job_overrides, initial_job_idx))

    def __call__(self, *arguments: Any) -> JobReturn:
        """Do one job; this is what runs on the cluster's node."""
        import submitit

        environment = submitit.JobEnvironment()
        _leave_unfinished_at_the_end(getattr(signal, f"SIG{environment.USR_SIG}"))
        # An attempt killed while it wrote its result would keep this one from writing another.
        result = environment.paths.result_pickle
        result.with_name(f"{result.name}.save_tmp").unlink(missing_ok=True)
        done: JobReturn = super().__call__(*arguments)
        return done


def _leave_unfinished_at_the_end(number: signal.Signals) -> None:
    """Let submitit requeue a job that is out of time; if it may not, end it without a record.

    The exception that submitit raises then would be put on record as the run's own failure.
    """
    from submitit.core.utils import UncompletedJobError

    requeue = signal.getsignal(number)
    assert callable(requeue)

    def handle(signum: int, frame: FrameType | None) -> None:
        try:
            requeue(signum, frame)
        except UncompletedJobError as error:
            sys.exit(str(error))

    signal.signal(number, handle)
