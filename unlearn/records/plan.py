"""What a sweep consists of: its runs, which of them are done, and how long the others may take."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from unlearn.config.hashing import digest
from unlearn.config.resolve import check_values, resolve_config, resolve_values
from unlearn.config.schema import RunConfig
from unlearn.errors import ConfigError
from unlearn.records.existing import check_names, check_owner, find_record, is_finished
from unlearn.records.places import is_locked, locate_run, partial_directory
from unlearn.records.queue import Queue

Status = Literal[
    "done", "running", "queued", "cut off", "failed", "to be run again", "refused", "new"
]
_TO_DO: tuple[Status, ...] = ("new", "cut off", "failed", "to be run again", "refused")
Compose = Callable[[list[str]], DictConfig]

_WHOLE = re.compile(r"\$\{([\w.]+)\}")  # a value that is one reference and nothing else
_WORD = re.compile(r"\w+")
# Keys that decide what other keys are.
_DECIDING = (
    *("method.as_published", "method._target_", "model._target_"),
    "dataset.name",
)


@dataclass(frozen=True)
class PlannedRun:
    """One run of a sweep and how far it has come.

    Args:
        identity: the hash of its config.
        directory: of the run.
        status: `running` if a process holds its lock; `queued` if a SLURM job waits to do it;
            `cut off` if a killed attempt left something to go on from; `to be run again` if it is
            done and `force` is set; `refused` if its directory cannot be used, of which the run
            itself says more.
        config: of the run.
        seconds: that it took, of a finished run.
    """

    identity: str
    directory: Path
    status: Status
    config: RunConfig
    seconds: float | None = None


@dataclass(frozen=True)
class Plan:
    """The jobs of a sweep: the words that are typed for each, and its run."""

    jobs: Sequence[tuple[Sequence[str], PlannedRun]]

    def runs(self) -> list[PlannedRun]:
        """Return the run of every job."""
        return [run for _, run in self.jobs]

    def missing(self) -> list[list[str]]:
        """Return the words of the jobs that have something to do."""
        return [list(job) for job, run in self.jobs if run.status in _TO_DO]

    def elsewhere(self) -> int:
        """Return how many runs another process is doing, or a queued job is to do."""
        return sum(run.status in ("running", "queued") for run in self.runs())

    def datasets(self) -> list[RunConfig]:
        """One run of each data set that has something to do."""
        wanted = [run.config for run in self.runs() if run.status in _TO_DO]
        found = {digest([c.dataset.factory, c.dataset.arguments]): c for c in wanted}
        return list(found.values())

    def settings(self) -> list[RunConfig]:
        """One run of each setting that has something to do, whatever the seed and the classes."""
        wanted = [run.config for run in self.runs() if run.status in _TO_DO]
        drawn = {"seed", "forget", "training", "run_dir"}
        found = {digest(config.model_dump(mode="json", exclude=drawn)): config for config in wanted}
        return list(found.values())

    def summary(self) -> str:
        """How many runs stand where, and an estimate of the hours from those that are finished."""
        counts = Counter(run.status for run in self.runs())
        named = [f"{n} {status}" for status in Status.__args__ if (n := counts[status])]  # type: ignore[attr-defined]
        line = f"{len(self.runs())} runs: {', '.join(named)}"
        to_do = sum(counts[status] for status in _TO_DO)
        known = [run.seconds for run in self.runs() if run.seconds is not None]
        if not to_do:
            return line
        if not known:
            return f"{line}; how long the {to_do} to do will take is not known: none is finished"
        mean = sum(known) / len(known)
        hours = to_do * mean / 3600
        return (
            f"{line}; the {to_do} to do will take about {hours:.2g} hours of one process, "
            f"at {mean:.3g} s each"
        )


def plan_sweep(
    jobs: Sequence[Sequence[str]], compose: Compose, is_group: Callable[[str], bool]
) -> Plan:
    """Check every run of a sweep, and see which are done.

    Args:
        jobs: what is typed for each job, as `key=value`.
        compose: makes Hydra's config of one job.
        is_group: whether a key names a config group.

    Raises:
        ConfigError: for the first run whose config cannot be used, or two runs in one directory.
    """
    configs = _compose_runs(jobs, compose, is_group)
    queue = Queue()
    found = Plan([(job, inspect_run(run, queue)) for job, run in zip(jobs, configs, strict=True)])
    held: dict[Path, str] = {}
    for run in found.runs():
        if held.setdefault(run.directory, run.identity) != run.identity:
            raise ConfigError(
                "run_dir", run.directory, "would hold two runs of the sweep; leave it out"
            )
    return found


def inspect_run(config: RunConfig, queue: Queue | None = None) -> PlannedRun:
    """Return how far a run has come, by its files and by SLURM's queue; nothing is written.

    Args:
        config: The run.
        queue: SLURM's queue; shared by the runs of a sweep, so that it is asked once.
    """
    identity, directory = locate_run(config)
    folder, record = find_record(directory)
    try:
        check_owner(config, directory, record, identity)
        if record is None or not is_finished(folder, record, identity):
            seconds = None
        elif config.force:
            seconds = record["seconds"]["total"]
        else:
            return PlannedRun(identity, directory, "done", config, record["seconds"]["total"])
        check_names(config, directory)
    except ConfigError:
        return PlannedRun(identity, directory, "refused", config)
    status: Status = "new"
    left, going_on = partial_directory(directory).exists(), is_locked(directory)
    if (queue or Queue()).holds(directory) and not going_on:
        status = "queued"
    elif left and going_on:
        status = "running"
    elif seconds is not None:
        status = "to be run again"
    elif left and not config.force:
        status = "cut off"
    elif record is not None and record["status"] != "complete":
        status = "failed"
    return PlannedRun(identity, directory, status, config, seconds)


def _compose_runs(
    jobs: Sequence[Sequence[str]], compose: Compose, is_group: Callable[[str], bool]
) -> list[RunConfig]:
    """Return each job's run, composed by Hydra.

    Composing is slow, so jobs share a composed config if they differ only in plain values that
    nothing but whole-value interpolations (`${seed}`) refers to.
    """
    plain = _find_plain_keys(jobs, is_group)
    bases: dict[tuple[str, ...], _Base] = {}
    found = []
    for job in jobs:
        shared = tuple(word for word in job if _key(word) not in plain)
        if shared not in bases:
            bases[shared] = _Base(compose(list(job)), job, plain)
        base = bases[shared]
        if base.is_shareable:
            found.append(base.with_values({word for word in job if _key(word) in plain}))
        else:
            found.append(resolve_config(compose(list(job)), list(job)))
    return found


class _Base:
    """A composed config, from which others are made that differ in plain values.

    Args:
        composed: Hydra's config of one job.
        job: The words of that job.
        plain: The keys whose values differ between jobs.
    """

    def __init__(self, composed: DictConfig, job: Sequence[str], plain: set[str]) -> None:
        self.values = resolve_values(composed, list(job))
        texts = list(_list_interpolations(OmegaConf.to_container(composed, resolve=False)))
        self._references = [
            (path, whole[1]) for path, text in texts if (whole := _WHOLE.fullmatch(text))
        ]
        changing = {place.rpartition(".")[2] for key in plain for place in self._places(key)}
        others = [text for _, text in texts if not _WHOLE.fullmatch(text)]
        self.is_shareable = not (
            self.values["method"].get("as_published")
            or any("hydra:" in text or changing & set(_WORD.findall(text)) for text in others)
        )

    def with_values(self, words: set[str]) -> RunConfig:
        """Return the checked config with the values of these words, as `key=value`."""
        values: Mapping[str, Any] = self.values
        for word in words:
            key, value = _parse_word(word)
            for place in self._places(key):
                values = _replace(values, place.split("."), value)
        return check_values(values)

    def _places(self, key: str) -> list[str]:
        """Return a key, the keys that refer to it, the keys that refer to those, and so on."""
        places = [key]
        for place in places:
            places += [path for path, name in self._references if name == place]
        return places


def _find_plain_keys(jobs: Sequence[Sequence[str]], is_group: Callable[[str], bool]) -> set[str]:
    """Return the keys whose values decide nothing else in the config."""
    words = {word for job in jobs for word in job}
    deciding = {_key(word) for word in words if "${" in word or word.startswith(("+", "~"))}
    keys = {_key(word) for word in words}
    return {k for k in keys - deciding if k not in _DECIDING and not is_group(k)}


def _list_interpolations(raw: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the dotted path and the text of every value that holds an interpolation."""
    if isinstance(raw, dict):
        for key, value in raw.items():
            yield from _list_interpolations(value, f"{path}.{key}" if path else str(key))
    elif isinstance(raw, list):
        for value in raw:
            yield from _list_interpolations(value, path)
    elif isinstance(raw, str) and "${" in raw:
        yield path, raw


def _replace(values: Mapping[str, Any], path: Sequence[str], value: Any) -> Mapping[str, Any]:
    """Return a copy with one value changed; a key that is not there is not added."""
    first, rest = path[0], path[1:]
    if first not in values:
        return values
    return {**values, first: _replace(values[first], rest, value) if rest else value}


def _key(word: str) -> str:
    return word.lstrip("+~").split("=", maxsplit=1)[0]


@cache
def _parse_word(word: str) -> tuple[str, Any]:
    override = OverridesParser.create().parse_override(word)
    return override.key_or_group, override.value()
