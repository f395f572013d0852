"""Weights & Biases: one run a job, offline unless asked otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from unlearn.config import RunConfig
from unlearn.errors import ConfigError
from unlearn.tracking.base import Step

_LOG_EVERY = 10  # steps between logged scalars; observations are always logged


class WeightsAndBiases:
    """Logs config, curves, summary, pictures and, opt-in, the checkpoint.

    Args:
        mode: offline (files in the run directory, sent later with `wandb sync`), online, disabled.
        project: name of the project.
        entity: team or user; None is the account's default.
        group: None groups by data set, model and method.
        tags: besides the data set, model and method.
        images: whether to log the pictures.
        artifact: whether to log the unlearned checkpoint.

    Raises:
        ConfigError: naming `tracking.mode` if it is online and there is no account to log in with.
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
    ) -> None:
        self.mode, self.project, self.entity, self.group = mode, project, entity, group
        self.tags, self.images, self.artifact = list(tags), images, artifact
        self._open_run: Callable[[], Any] | None = None
        self._opening: Future[Any] | None = None
        self._waiting: list[tuple[str, dict[str, float]]] = []  # what is logged once it is open
        if mode == "online" and not _logged_in():
            raise ConfigError(
                "tracking.mode", mode, "no account here: run `wandb login`, or use offline"
            )
        self._stages: set[str] = set()

    def start(self, config: RunConfig, directory: Path, config_hash: str) -> None:
        """Get ready; the run's name is its forget classes and seed, its id is left to W&B."""
        if self.mode != "disabled":
            self._open_run = partial(self._open, config, directory, config_hash)

    def _opened(self) -> Future[Any]:
        """The run, opened beside the training from its first step on: that takes a second."""
        if self._opening is None:
            assert self._open_run is not None
            self._opening = ThreadPoolExecutor(1, "wandb").submit(self._open_run)
        return self._opening

    def _open(self, config: RunConfig, directory: Path, config_hash: str) -> Any:
        import wandb

        names = [config.dataset.name, config.model.name, config.method.name]
        return wandb.init(
            mode="online" if self.mode == "online" else "offline",
            project=self.project,
            entity=self.entity,
            dir=directory,
            group=self.group or "-".join(names),
            job_type="unlearn",
            name=f"forget {','.join(map(str, config.forget))} seed {config.seed}",
            tags=[*names, *self.tags],
            config=config.plain() | {"config_hash": config_hash},
            settings=wandb.Settings(console="off", silent=True),
            reinit="create_new",
        )

    def step(self, step: Step) -> None:
        """Log the scalars now and then, and every observation, under the stage's name."""
        due = step.step % _LOG_EVERY == 0 or step.step == step.total or step.observed
        if self._open_run is None or not due:
            return
        values = {f"{step.stage}/{k}": v for k, v in step.read().items() if v is not None}
        self._waiting.append((step.stage, {f"{step.stage}/step": step.step, **values}))
        if self._opened().done():
            self._send(self._opened().result())

    def _send(self, run: Any) -> None:
        for stage, values in self._waiting:
            if stage not in self._stages:
                self._stages.add(stage)
                run.define_metric(f"{stage}/*", step_metric=f"{stage}/step")
            run.log(values)
        self._waiting.clear()

    def finish(self, record: Mapping[str, Any], directory: Path) -> None:
        """Write the summary, the pictures and the checkpoint, and close the run."""
        if self._open_run is None:
            return
        import wandb

        self._send(run := self._opened().result())
        run.summary.update(dict(record))
        if self.images:
            for picture in sorted((directory / "figures").glob("*.png")):
                run.log({f"figures/{picture.stem}": wandb.Image(str(picture))})
        if self.artifact:
            for checkpoint in directory.glob("student.*"):
                run.log_artifact(str(checkpoint), name="student", type="model")
        run.finish(exit_code=0 if record["status"] == "complete" else 1)
        self._open_run = self._opening = None


def _logged_in() -> bool:
    """Whether W&B finds credentials, without asking for any."""
    import wandb

    try:
        return bool(wandb.login(prompt=False))
    except wandb.Error:
        return False
