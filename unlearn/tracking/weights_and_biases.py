"""Weights & Biases: one run a job, offline unless asked otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
        self._run: Any = None
        if mode == "online" and not _logged_in():
            raise ConfigError(
                "tracking.mode", mode, "no account here: run `wandb login`, or use offline"
            )
        self._stages: set[str] = set()

    def start(self, config: RunConfig, directory: Path, config_hash: str) -> None:
        """Open the run; the name is its forget classes and seed, the id is left to W&B."""
        if self.mode == "disabled":
            return
        import wandb

        names = [config.dataset.name, config.model.name, config.method.name]
        self._run = wandb.init(
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
        if self._run is None or not due:
            return
        if step.stage not in self._stages:
            self._stages.add(step.stage)
            self._run.define_metric(f"{step.stage}/*", step_metric=f"{step.stage}/step")
        values = {f"{step.stage}/{k}": v for k, v in step.read().items() if v is not None}
        self._run.log({f"{step.stage}/step": step.step, **values})

    def finish(self, record: Mapping[str, Any], directory: Path) -> None:
        """Write the summary, the pictures and the checkpoint, and close the run."""
        if self._run is None:
            return
        import wandb

        self._run.summary.update(dict(record))
        if self.images:
            for picture in sorted((directory / "figures").glob("*.png")):
                self._run.log({f"figures/{picture.stem}": wandb.Image(str(picture))})
        if self.artifact:
            for checkpoint in directory.glob("student.*"):
                self._run.log_artifact(str(checkpoint), name="student", type="model")
        self._run.finish(exit_code=0 if record["status"] == "complete" else 1)
        self._run = None


def _logged_in() -> bool:
    """Whether W&B finds credentials, without asking for any."""
    import wandb

    try:
        return bool(wandb.login(prompt=False))
    except wandb.Error:
        return False
