"""The one entrypoint: composes a config with Hydra, checks it, and only then imports torch."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.types import RunMode
from omegaconf import DictConfig

from unlearn.config.help import help_text
from unlearn.config.hydra_errors import explain_hydra_error, is_hydra_error
from unlearn.config.resolve import resolve_config
from unlearn.config.tree import CONF
from unlearn.errors import ConfigError, UnlearnError, say

_HYDRA_TRACEBACK = "HYDRA_FULL_ERROR"
_TRACEBACK = "UNLEARN_TRACEBACK"
# Groups whose choice follows from other choices.
_FOLLOWING = {
    "tuned": "dataset, model and method",
    "training/recipe@training": "training, dataset and model",
}
_TYPED = "command-line"  # Hydra's name for the provider of --config-dir


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def _task(composed: DictConfig) -> float | None:
    job = HydraConfig.get()
    if job.mode != RunMode.MULTIRUN:
        with _exit_on_error():
            _refuse_launcher(job.runtime.choices["hydra/launcher"])
            return _do_job(composed)
    try:
        return _do_job(composed)
    except Exception as error:  # said at once; the sweeper goes on with the other jobs
        say(f"job {job.job.num} ({job.job.override_dirname}): {_explained(error)[0]}")
        raise


def _do_job(composed: DictConfig) -> float | None:
    """Do the run of one job, or plan it; return the value of its `objective`."""
    overrides = list(HydraConfig.get().overrides.task)
    config = resolve_config(composed, overrides)
    if config.launch == "plan":
        from unlearn.records.plan import Plan, inspect_run

        say(Plan([(overrides, inspect_run(config))]).summary())
        return None

    from unlearn.records.record import look_up
    from unlearn.runner.run import run
    from unlearn.runner.table import print_run

    _freeze_modules()
    outcome = run(config, [*_list_own_trees(), *overrides])
    print_run(outcome.record, outcome.directory)
    if outcome.done_before:
        say(f"{outcome.directory}: was done before; force=true does it again")
    value = None if config.objective is None else look_up(outcome.record, config.objective)
    return None if value is None else float(value)


def _freeze_modules() -> None:
    """Exempt all that was imported from the search for garbage, which looks at it ever again."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def _list_own_trees() -> list[str]:
    """Return the words for the user's own config trees; Hydra wants them before all others."""
    job = HydraConfig.get()
    given = [source.path for source in job.runtime.config_sources if source.provider == _TYPED]
    searched = [word for word in job.overrides.hydra if word.startswith("hydra.searchpath=")]
    return [*(f"--config-dir={path}" for path in given), *searched]


def main() -> None:
    """Run the command line; exit 2 for the user's mistakes, 1 for runs that failed."""
    if {"--help", "-h"} & set(sys.argv[1:]):
        sys.stdout.write(help_text(CONF, sys.argv[1:]) + "\n")
        return
    gc.disable()  # while modules are imported: what they hold is no garbage
    sys.argv[1:] = sorted(sys.argv[1:], key=_is_override)  # Hydra reads no option after an override
    os.environ.setdefault(_TRACEBACK, os.environ.get(_HYDRA_TRACEBACK, "0"))
    os.environ[_HYDRA_TRACEBACK] = "1"  # Hydra then raises instead of printing its own report
    sys.path.append(os.getcwd())  # a user's own network or method, as `python -m` would find it
    Plugins.instance()  # loads every plugin; Optuna's stores its own search
    from hydra_plugins.unlearn_hydra.sweepers import register_search

    register_search()
    with _exit_on_error():
        _refuse_choice(sys.argv[1:])
        _task()


def _is_override(word: str) -> bool:
    return word.startswith(("+", "~")) or ("=" in word and not word.startswith("-"))


def _refuse_choice(arguments: list[str]) -> None:
    """Refuse choices that follow from others: Hydra would ignore mistyped optional choices."""
    for key, sign, value in (argument.lstrip("+").partition("=") for argument in arguments):
        if sign and key in _FOLLOWING:
            raise ConfigError(key, value, f"is chosen by {_FOLLOWING[key]}; ~{key} disables it")


def _refuse_launcher(name: str) -> None:
    """Refuse a launcher without -m: Hydra would ignore it and run the job here."""
    if name != "basic":
        raise ConfigError("hydra/launcher", name, "launches the jobs of a sweep: give -m")


@contextmanager
def _exit_on_error() -> Iterator[None]:
    """Turn an error into one line on stderr and an exit code; a traceback only if asked for."""
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if os.environ[_TRACEBACK] == "1":
            raise
        line, code = _explained(error)
        say(line)
        sys.exit(code)


def _explained(error: Exception) -> tuple[str, int]:
    if isinstance(error, UnlearnError):
        return str(error), error.exit_code
    if is_hydra_error(error):
        return explain_hydra_error(error, sys.argv[1:], CONF), 2
    return f"{type(error).__name__}: {error}", 1


if __name__ == "__main__":
    main()
