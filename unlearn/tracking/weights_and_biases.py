"""Weights & Biases observer, offline by default. Its errors never fail a run."""

import os
import secrets
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from unlearn.config.schema import RunConfig
from unlearn.errors import ConfigError, is_disk_full
from unlearn.roles import list_roles
from unlearn.tracking.base import Step
from unlearn.tracking.sync import mark_sent

_LOG_EVERY = 10  # steps between logged scalars; observations are always logged
_LONGEST_TAG = 64  # characters that W&B allows
_SLURM = ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID")
_REFUSED = "filestream: fatal error"  # wandb reports refused curves only in its log
# wandb's telemetry delays the exit if the server does not answer.
_QUIET = {"WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true"}


class WeightsAndBiases:
    """Logs config, curves, summary, pictures and, if asked, the checkpoint.

    If the server cannot be reached, the run is kept offline. If W&B fails for another reason, the
    run goes on without it. Both print one line to stderr.

    A resumed run keeps its W&B id. It logs all steps again under the same numbers, so that none
    is logged twice.

    Args:
        mode: `offline` (uploaded later by `unlearn-sync`), `online` or `disabled`.
        project: Name of the project.
        entity: Team or user; None: the account's default.
        group: Group of runs; None: the variable WANDB_RUN_GROUP, or data set, model and method.
        tags: Tags in addition to data set, model, method and, for oracle runs, `oracle`.
        images: Whether to log the pictures.
        artifact: Whether to log the unlearned checkpoint.
        init_timeout: Seconds to wait for the server before the run is kept offline.
        finish_timeout: Seconds to wait at the end until everything is uploaded.

    Raises:
        ConfigError: If the mode is `online` and no account is logged in, or a timeout is not
            above 0.
    """

    def __init__(
        self,
        mode: str,
        project: str,
        entity: str | None,
        group: str | None,
        tags: Sequence[str],
        images: bool,
        artifact: bool,
        init_timeout: float,
        finish_timeout: float,
    ) -> None:
        for name, seconds in (("init_timeout", init_timeout), ("finish_timeout", finish_timeout)):
            if not isinstance(seconds, int | float) or not 0 < seconds < float("inf"):
                raise ConfigError(f"tracking.observers.wandb.{name}", seconds, "seconds, above 0")
        self.mode, self.project, self.entity, self.group = mode, project, entity, group
        self.tags, self.images, self.artifact = list(tags), images, artifact
        self.init_timeout, self.finish_timeout = init_timeout, finish_timeout
        self._open_run: Callable[[], Any] | None = None
        self._opening: Future[Any] | None = None
        self._waiting: list[tuple[str, int, dict[str, float]]] = []  # logged once it is open
        self._reached = -1  # number of the last logged step
        self._lost = False
        if mode == "online" and not _logged_in():
            raise ConfigError(
                "tracking.mode", mode, "no account here: run `wandb login`, or use offline"
            )
        self._stages: set[str] = set()

    def start(self, config: RunConfig, directory: Path, config_hash: str) -> None:
        """Prepare the run; its name holds the forget classes and the seed."""
        epochs = config.training.epochs
        roles = list_roles(config.evaluation.references)
        self._before = {role: epochs * index for index, role in enumerate(roles)}
        self._next = epochs * len(roles)
        folder = config.run_dir or config.outputs
        self._send_with = shlex.join(["unlearn-sync", folder])
        if self.mode == "disabled":
            return
        with self._tolerated():
            identity, again = _identity(directory)
            self._open_run = partial(self._open, identity, again, config, directory, config_hash)

    @contextmanager
    def _tolerated(self) -> Iterator[None]:
        """Go on without W&B if it fails here; only a full disk fails the run."""
        try:
            yield
        except Exception as error:
            if is_disk_full(error):
                raise
            self._open_run = None
            if not self._lost:
                self._say(f"{_in_one_line(error)}; this run goes on without Weights & Biases")
            self._lost = True
            _drop_service(error)

    def _say(self, line: str) -> None:
        sys.stderr.write(f"unlearn: tracking.mode={self.mode}: {line}\n")

    def _opened(self) -> Future[Any]:
        """Return the run, which is opened in a thread because that takes a second."""
        if self._opening is None:
            assert self._open_run is not None
            self._opening = ThreadPoolExecutor(1, "wandb").submit(self._open_run)
        return self._opening

    def _open(
        self, identity: str, again: bool, config: RunConfig, directory: Path, config_hash: str
    ) -> Any:
        _quiet()
        names = [config.dataset.name, config.model.name, config.method.name]
        open_as = partial(
            self._init,
            dir=directory,
            group=self.group or os.environ.get("WANDB_RUN_GROUP") or "-".join(names),
            name=f"forget {','.join(map(str, config.forget))} seed {config.seed}",
            tags=[name[:_LONGEST_TAG] for name in names] + self.tags,
            config=config.plain() | {"config_hash": config_hash} | _slurm(),
        )
        if self.mode != "online":
            return open_as(mode="offline", id=identity)
        try:
            return open_as(mode="online", id=identity, resume="allow" if again else None)
        except Exception as error:
            self._say(
                f"{_in_one_line(error)}; this run is kept offline, send it with: {self._send_with}"
            )
        # This process cannot use the id again that wandb failed to open.
        (directory / "wandb" / "id").unlink()
        return open_as(mode="offline", id=_identity(directory)[0])

    def _init(self, **arguments: Any) -> Any:
        import wandb

        settings = wandb.Settings(
            console="off",
            silent=True,
            init_timeout=self.init_timeout,
            finish_timeout=self.finish_timeout,
            finish_timeout_raises=True,
        )
        return wandb.init(
            project=self.project,
            entity=self.entity,
            job_type="unlearn",
            settings=settings,
            reinit="create_new",
            **arguments,
        )

    def step(self, step: Step) -> None:
        """Log every tenth step and every measured step, under the stage's name."""
        number = self._number(step)
        due = step.step % _LOG_EVERY == 0 or step.step == step.total or step.observed
        if self._open_run is None or not due:
            return
        values = {f"{step.stage}/{k}": v for k, v in step.read().items() if v is not None}
        self._waiting.append((step.stage, number, {f"{step.stage}/step": step.step, **values}))
        with self._tolerated():
            if self._opened().done():
                self._send(self._opened().result())

    def _number(self, step: Step) -> int:
        """Return the step's number in the run, the same in every attempt."""
        if step.stage not in self._before:
            self._before[step.stage] = self._next
            self._next += step.total
        return self._before[step.stage] + step.step

    def _send(self, run: Any) -> None:
        """Log the waiting steps that were not logged before."""
        self._reached = max(self._reached, run.starting_step - 1)
        for stage, number, values in self._waiting:
            if stage not in self._stages:
                self._stages.add(stage)
                run.define_metric(f"{stage}/*", step_metric=f"{stage}/step")
            if number > self._reached:
                run.log(values, step=number, commit=True)
                self._reached = number
        self._waiting.clear()

    def finish(self, record: Mapping[str, Any], directory: Path) -> None:
        """Write the summary, the pictures and the checkpoint, and close the run."""
        if self._open_run is None:
            return
        with self._tolerated():
            run = self._opened().result()
            with self._tolerated():
                self._send(run)
                self._conclude(run, record, directory)
            self._close(run, 0 if record["status"] == "complete" else 1)
        self._open_run = self._opening = None

    def _conclude(self, run: Any, record: Mapping[str, Any], directory: Path) -> None:
        import wandb

        run.summary.update({key: value for key, value in record.items() if key != "config"})
        if record["oracle"]:
            run.tags = (*run.tags, "oracle")
        if self.images:
            pictures = (directory / "figures").glob("*.png")
            shown = {f"figures/{path.stem}": wandb.Image(str(path)) for path in pictures}
            if shown:
                run.log(shown, step=self._next + 1)
        if self.artifact:
            # Of a Hugging Face folder, which has the same weights, the network can be loaded.
            found = [directory / "student", *directory.glob("student.*")]
            for checkpoint in [path for path in found if path.exists()][:1]:
                run.log_artifact(str(checkpoint), name="student", type="model")

    def _close(self, run: Any, exit_code: int) -> None:
        """Close the run; print a line if the server did not take all of it."""
        try:
            run.finish(exit_code=exit_code)
            taken = _REFUSED not in Path(run.settings.log_internal).read_text(errors="replace")
        except TimeoutError:
            taken = False
        if not taken:
            self._say(f"the server did not take all; send the rest with: {self._send_with}")
        elif not run.offline:
            mark_sent(Path(run.settings.sync_file))


def _identity(directory: Path) -> tuple[str, bool]:
    """Return the run's id, and whether an earlier attempt used it.

    The earlier attempt's files are removed, because everything is logged again.
    """
    folder = directory / "wandb"
    file = folder / "id"
    kept = file.read_text() if file.exists() else ""
    identity = kept or secrets.token_hex(8)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(exist_ok=True)
    file.write_text(identity)
    return identity, bool(kept)


def _slurm() -> dict[str, dict[str, str]]:
    """Return the ids of the SLURM job, if this is one: `slurm.job_id` and so on."""
    found = {v.removeprefix("SLURM_").lower(): os.environ[v] for v in _SLURM if v in os.environ}
    return {"slurm": found} if found else {}


def _drop_service(error: Exception) -> None:
    """Shut down wandb's process if it has died, so that the next run starts another."""
    with suppress(Exception):
        import wandb
        from wandb.sdk.mailbox import HandleAbandonedError, MailboxClosedError

        if isinstance(error, ConnectionError | HandleAbandonedError | MailboxClosedError):
            wandb.teardown()


def _quiet() -> None:
    for variable, value in _QUIET.items():
        os.environ.setdefault(variable, value)


def _in_one_line(error: Exception) -> str:
    told = str(error).partition("\nConsider increasing")[0]
    return " ".join(told.split()) or type(error).__name__


def _logged_in() -> bool:
    """Return whether W&B finds credentials, without asking the user or the server."""
    _quiet()
    os.environ["WANDB_MODE"] = "online"  # offline, wandb looks for no account
    import wandb

    try:
        return bool(wandb.login(prompt=False, verify=False))
    except wandb.Error:
        return False
