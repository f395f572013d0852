"""The Python interface: forget classes of a network, do a whole run, read records."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
from hydra import compose, initialize_config_dir
from torch import nn

from unlearn.config.hydra_errors import explain_hydra_error, is_hydra_error
from unlearn.config.resolve import resolve_config
from unlearn.config.schema import RunConfig
from unlearn.config.tree import CONF
from unlearn.errors import UnlearnError
from unlearn.models.checkpoint import CheckpointFormat, load_into
from unlearn.runner.run import Outcome
from unlearn.runner.run import run as run_config

if TYPE_CHECKING:
    import pandas as pd

_given: list[nn.Module] = []  # the networks of the calls of `forget` that are going on


def forget(
    network: nn.Module,
    classes: Sequence[int | str],
    *,
    shape: Sequence[int],
    mean: Sequence[float],
    std: Sequence[float],
    class_names: Sequence[str] | None = None,
    method: str = "regrow",
    seed: int = 0,
    overrides: Sequence[str] = (),
    **settings: Any,
) -> tuple[nn.Module, dict[str, Any]]:
    """Unlearn classes of a trained network without any data.

    The network itself is not changed. The run directory is temporary unless `overrides` holds
    `run_dir=...`; trackers are off.

    Args:
        network: The teacher. It maps normalised images (B, C, H, W) to logits (B, K).
        classes: The classes to forget, as indices or, with `class_names`, as names.
        shape: (C, H, W) of an input.
        mean: Per channel, as the training images were normalised.
        std: Per channel, as the training images were normalised.
        class_names: The names of the K classes, in order.
        method: A method that needs no data, as in `method=NAME` on the command line.
        seed: The seed of everything random.
        overrides: Further words of the command line, for example `hardware=gpu`.
        **settings: Settings of the method: `iterations=40` is `method.iterations=40`.

    Returns:
        The unlearned network, in eval mode on the CPU, and the record of the run.

    Raises:
        UnlearnError: With one line on what went wrong.
    """
    with TemporaryDirectory() as scratch, _giving(network):
        checkpoint = Path(scratch) / "teacher.safetensors"
        CheckpointFormat().save(network, checkpoint)
        words = [
            *("dataset=none", f"dataset.num_classes={_count_classes(network, shape)}"),
            *(f"dataset.{k}={_quote(v)}" for k, v in (("shape", shape), ("mean", mean))),
            *(f"dataset.std={_quote(std)}", f"dataset.classes={_quote(class_names)}"),
            *("model=custom", "model._target_=unlearn.api.copy_fresh", f"method={method}"),
            *(f"model.name={type(network).__name__}", f"model.checkpoint={_quote(checkpoint)}"),
            *(f"forget={_quote(classes)}", f"seed={seed}", "tracking=csv", "evaluation=quick"),
            *("~tracking.observers.lines", f"run_dir={_quote(Path(scratch) / 'run')}"),
            *(f"method.{key}={_quote(value)}" for key, value in settings.items()),
            *overrides,
        ]
        outcome = run(words)
        student = copy.deepcopy(network).cpu()
        (weights,) = outcome.directory.glob("student.*")
        load_into(student, str(weights))
    return student.eval(), outcome.record


def run(overrides: Sequence[str] = (), *, config_dir: str | Path | None = None) -> Outcome:
    """Do one run as the command line does, or find it done.

    Args:
        overrides: The words that would be typed after `unlearn`, as `key=value`.
        config_dir: A config tree of your own, as with `--config-dir`.

    Raises:
        UnlearnError: With one line on what went wrong.
    """
    words = list(overrides)
    if config_dir is not None:
        words.append(f"hydra.searchpath=[{_quote('file://' + str(Path(config_dir).absolute()))}]")
    return run_config(_compose(words), list(overrides))


def load_records(path: str | Path, *more: str | Path) -> pd.DataFrame:
    """Read the records of all runs under some folders.

    Args:
        path: A folder of runs, or a CSV file that `unlearn-report --runs-csv` wrote.
        *more: Further ones.

    Returns:
        One row per run: its status, every config key (`method.start`) and every figure (`D_r`).

    Raises:
        UnlearnError: If a folder holds no record.
    """
    from unlearn.report.runs import load

    return load([Path(path), *map(Path, more)])


def copy_fresh() -> nn.Module:
    """Return a copy of the network given to `forget`, with newly initialised parameters.

    Layers with `reset_parameters` are reset by it. Any other parameter is drawn from a normal
    distribution with its own standard deviation.
    """
    network = copy.deepcopy(_given[-1]).cpu()
    reset: set[int] = set()
    for module in network.modules():
        reset_parameters = getattr(module, "reset_parameters", None)
        if callable(reset_parameters):
            reset_parameters()
            reset |= {id(parameter) for parameter in module.parameters(recurse=False)}
    with torch.no_grad():
        for parameter in network.parameters():
            if id(parameter) not in reset and parameter.numel() > 1:
                parameter.normal_(0.0, float(parameter.std()))
    return network.requires_grad_(True)


def _compose(words: list[str]) -> RunConfig:
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return resolve_config(compose("config", overrides=words), words)
    except Exception as error:
        if isinstance(error, UnlearnError) or not is_hydra_error(error):
            raise
        raise UnlearnError(explain_hydra_error(error, words, CONF)) from error


@contextmanager
def _giving(network: nn.Module) -> Iterator[None]:
    _given.append(network)
    try:
        yield
    finally:
        _given.remove(network)


@torch.no_grad()
def _count_classes(network: nn.Module, shape: Sequence[int]) -> int:
    """Return how many logits a network has, from one black image."""
    probe = copy.deepcopy(network).cpu().eval()
    return int(probe(torch.zeros(1, *shape)).shape[1])


def _quote(value: Any) -> str:
    """Return a value as a word of Hydra's grammar."""
    if value is None:
        return "null"
    if isinstance(value, str | Path):
        escaped = str(value).replace("\\", "\\\\").replace("'", "\\'")
        return f"'{escaped}'"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Sequence):
        return f"[{','.join(map(_quote, value))}]"
    return str(value)
