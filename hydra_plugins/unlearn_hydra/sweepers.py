"""Hydra's sweepers as this project uses them; Hydra takes plugins from `hydra_plugins` alone."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.types import HydraContext, TaskFunction
from hydra_plugins.hydra_optuna_sweeper.config import Direction, OptunaSweeperConf
from hydra_plugins.hydra_optuna_sweeper.optuna_sweeper import OptunaSweeper
from omegaconf import DictConfig, OmegaConf, open_dict

from unlearn.config.hashing import digest
from unlearn.data.shared import sharing
from unlearn.errors import ConfigError, RunError, say

if TYPE_CHECKING:
    from unlearn.records.plan import Plan


_ATTEMPTS = 3  # at a sweep whose worker processes are killed


class _NothingToLaunch(Exception):
    """Leaves Hydra's sweep before it makes a folder, which a disk may not allow."""


class Resume(BasicSweeper):
    """The grid sweeper, launching only what is missing; `launch=plan` launches nothing.

    Every run's config is checked before the first is launched, and so are its parts and the data,
    unless the nodes of a cluster are to build and read them: those may see other disks.

    `design=grid` runs every combination of the values. `design=cover` runs as many jobs as the
    longest list has values: the i-th job takes the i-th value of each list, and a list that is
    shorter starts again. Each value is then in at least one job.
    """

    def sweep(self, arguments: list[str]) -> Any:
        """Launch the missing runs; those in this process read each data set once."""
        for _ in range(_ATTEMPTS):
            try:
                with sharing():
                    return super().sweep(arguments)
            except _NothingToLaunch:
                return []
            except BrokenProcessPool:
                say("a worker process was killed; going on with the runs that are left")
        raise RunError(f"worker processes were killed in {_ATTEMPTS} attempts; see the memory")

    def split_arguments(  # type: ignore[override]
        self, overrides: list[Override], max_batch_size: int | None
    ) -> list[list[list[str]]]:
        """Return the missing jobs, in batches of at most `max_batch_size`.

        Raises:
            _NothingToLaunch: If there are none.
        """
        for override in overrides:
            if override.is_range_sweep() and not list(override.sweep_iterator()):
                key, _, value = str(override.input_line).partition("=")
                raise ConfigError(key, value, "holds no value to sweep")
        assert self.config is not None
        jobs = (
            _every_value(overrides)
            if self.config.design == "cover"
            else _every_combination(overrides)
        )
        found = self._plan(jobs)
        say(found.summary())
        assert self.config is not None
        missing = [] if self.config.launch == "plan" else found.missing()
        directories = getattr(self.launcher, "directories", None)  # a SLURM launcher notes its jobs
        if directories is not None:
            directories.update({tuple(job): run.directory for job, run in found.jobs})
        if not missing:
            if self.config.launch == "run" and (elsewhere := found.elsewhere()):
                raise RunError(f"nothing to launch: {elsewhere} runs are on their way elsewhere")
            raise _NothingToLaunch
        if not self._on_cluster():
            _try(found)
        os.environ.setdefault("WANDB_RUN_GROUP", self._name(overrides))
        chunks = BasicSweeper.split_overrides_to_chunks(missing, max_batch_size)
        return [list(chunk) for chunk in chunks]

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """The plan has checked every job already."""

    def _on_cluster(self) -> bool:
        assert self.config is not None
        return "slurm" in str(self.config.hydra.runtime.choices["hydra/launcher"])

    def _plan(self, jobs: list[list[str]]) -> Plan:
        from unlearn.records.plan import plan_sweep

        assert self.hydra_context is not None
        loader = self.hydra_context.config_loader

        def compose(words: list[str]) -> DictConfig:
            assert self.config is not None
            composed = loader.load_sweep_config(self.config, words)
            HydraConfig.instance().set_config(composed)  # for ${hydra:...} in the job's values
            with open_dict(composed):
                del composed["hydra"]
            return composed

        def is_group(key: str) -> bool:
            name = key.split("@")[0]
            return bool(loader.list_groups(name) or loader.get_group_options(name))

        return plan_sweep(jobs, compose, is_group)

    def _name(self, overrides: list[Override]) -> str:
        """The same whenever and wherever this sweep is launched."""
        assert self.config is not None
        config = self.config
        name = f"{config.dataset.name}-{config.model.name}-{config.method.name}"
        chosen = OmegaConf.select(config, "hydra.runtime.choices.experiment")
        chosen = chosen or _composed_experiments(overrides) or name
        return f"{chosen}-{digest([str(o.input_line) for o in overrides])[:6]}"


def _every_combination(overrides: list[Override]) -> list[list[str]]:
    (jobs,) = BasicSweeper.split_arguments(overrides, None)
    return jobs


def _every_value(overrides: list[Override]) -> list[list[str]]:
    """The jobs of `design=cover`."""
    last = {override.get_key_element(): override for override in overrides}
    columns = [[word for (word,) in _every_combination([override])] for override in last.values()]
    most = max(map(len, columns), default=1)
    return [[words[job % len(words)] for words in columns] for job in range(most)]


def _composed_experiments(overrides: list[Override]) -> str | None:
    """`a+b` of `experiment=[a,b]`: of a list Hydra's runtime records nothing."""
    chosen = [o.value() for o in overrides if o.get_key_element() == "experiment"]
    names = chosen[-1] if chosen else None
    return "+".join(map(str, names)) if isinstance(names, list) else None


def _try(found: Plan) -> None:
    """Find out now what cannot be built, or that a data set is not there, not run by run."""
    from unlearn.runner.build import check, read_images

    for config in found.settings():
        check(config)
    for config in found.datasets():
        read_images(config)


_LESS_IS_BETTER = ("proxy.forget", "proxy.soft_forget", "proxy.margin", "seconds.")


class Search(OptunaSweeper):
    """Optuna over a figure that needs no data; over one that does only with `allow_oracle`."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Refuse an objective that a method without data could not know.

        Raises:
            ConfigError: naming `objective` or `launch`.
        """
        if config.launch == "plan":
            raise ConfigError("launch", "plan", "a search has no list of runs; allowed is run")
        known = str(config.objective).split(".")[0] in ("proxy", "seconds")
        if not known and not config.allow_oracle:
            raise ConfigError(
                "objective",
                config.objective,
                "is a figure of real test data, which must not choose hyper-parameters; allowed "
                "are proxy.score, proxy.retain, proxy.forget and seconds.unlearn, or "
                "allow_oracle=true, which marks every run as oracle",
            )
        most = config.hydra.sweeper.direction == Direction.maximize
        if most and str(config.objective).startswith(_LESS_IS_BETTER):
            raise ConfigError(
                "objective",
                config.objective,
                "less of it is better: set hydra.sweeper.direction=minimize",
            )
        _check_objective(config)
        self._results = Path(config.hydra.sweep.dir) / "optimization_results.yaml"
        self._objective = config.objective
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def sweep(self, arguments: list[str]) -> Any:
        """Search, and say what was best."""
        Path(self._results).parent.mkdir(parents=True, exist_ok=True)
        try:
            super().sweep(arguments)
        except ValueError as error:
            if "No trials are completed" not in str(error):
                raise
            reason = f"no trial of the search has a value of {self._objective}; all of them failed"
            raise RunError(reason) from error
        best = OmegaConf.to_container(OmegaConf.load(self._results))
        assert isinstance(best, dict)
        words = " ".join(f"{key}={value}" for key, value in best["best_params"].items())
        say(f"best {self._objective} {best['best_value']:.4g} with {words}; see {self._results}")


def _check_objective(config: DictConfig) -> None:
    """Refuse a figure that no trial would have, unless what is searched must be known for that."""
    from unlearn.config.resolve import resolve_config
    from unlearn.records.record import check_objective

    plain = config.copy()
    with open_dict(plain):
        del plain["hydra"]
    try:
        run = resolve_config(plain, [])
    except ConfigError:
        return
    check_objective(run, searched=True)


def register_search() -> None:
    """Make `hydra/sweeper=optuna` the search above, whichever plugin Hydra has read last.

    Of most figures that it may take, more is better.
    """
    ConfigStore.instance().store(
        group="hydra/sweeper",
        name="optuna",
        node=OptunaSweeperConf(
            _target_="hydra_plugins.unlearn_hydra.sweepers.Search",
            direction=Direction.maximize,
            max_failure_rate=1.0,  # a failed trial is told as failed, and the search goes on
        ),
        provider="unlearn",
    )
