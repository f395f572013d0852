"""One run, or several as one: config, data and teacher, method, evaluation, record."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from unlearn.config.schema import RunConfig
from unlearn.data.tensors import Split
from unlearn.protocol import Observed, State, Steps, StepsTogether, Together
from unlearn.records import record as records
from unlearn.records.template import new_record
from unlearn.resume import Progress
from unlearn.roles import cached_as
from unlearn.runner.build import build
from unlearn.runner.job import Job, Outcome
from unlearn.runner.networks import trained_once
from unlearn.runner.usage import Usage
from unlearn.tracking.base import Step
from unlearn.tracking.progress import ProgressBar
from unlearn.training.supervised import train


def run(config: RunConfig) -> tuple[dict[str, Any], Path]:
    """Do one run, or find it done.

    Returns:
        The record and the directory that holds it.

    Raises:
        UnlearnError: with one line on what went wrong; a run that had begun leaves a record
            with status `failed`.
    """
    (outcome,) = run_together([config])
    if outcome.failure is not None:
        raise outcome.failure
    return outcome.record, outcome.directory


def run_together(
    configs: Sequence[RunConfig], commands: Sequence[Sequence[str]] | None = None
) -> list[Outcome]:
    """Do several runs in one process, as one computation as far as the method can.

    They differ in seed and forget classes. Those found done are left as they are; each of the
    others is recorded as soon as it has been evaluated, whatever becomes of the rest.

    Args:
        configs: of the runs.
        commands: for the records, what is typed after `unlearn` to do each.

    Raises:
        UnlearnError: if a run cannot begin.
    """
    found: dict[int, Outcome] = {}
    with ExitStack() as claims:
        jobs: list[Job] = []
        for index, config in sorted(
            enumerate(configs), key=lambda pair: str(records.place(pair[1])[1])
        ):
            records.check_objective(config)
            identity, directory = records.place(config)
            claim = claims.enter_context(ExitStack())
            claim.enter_context(records.claimed(config, directory))
            done = records.finished(config, directory, identity)
            if done is not None:
                found[index] = Outcome(done, directory, done_before=True)
                continue
            parts = build(config, stack=len(configs) > 1)
            if jobs:  # a terminal has room for one run's bars
                parts.observers[:] = [o for o in parts.observers if not isinstance(o, ProgressBar)]
            command = None if commands is None else commands[index]
            record = new_record(config, identity, command)
            work = claim.enter_context(records.writing(directory, record, config.force))
            jobs.append(Job(index, config, parts, record, work, directory, claim))
        _prepare(jobs)
        _unlearn([job for job in jobs if job.failure is None])
        for job in jobs:
            job.attempt(job.evaluate)
            found[job.index] = job.close()
    return [found[index] for index in range(len(configs))]


def prepared(config: RunConfig) -> Job:
    """A run with its teacher and its request, for whoever wants to step the method himself.

    Raises:
        UnlearnError: if it cannot begin.
    """
    parts = build(config)
    parts.observers.clear()
    identity, directory = records.place(config)
    record = new_record(config, identity)
    job = Job(0, config, parts, record, directory, directory, ExitStack())
    if "teacher" in job.trains():
        _train("teacher", [job])
    job.ask()
    return job


def _prepare(jobs: list[Job]) -> None:
    """Start the observers, and get teachers, retrained references and requests."""
    for job in jobs:
        job.attempt(job.start)
    for role in dict.fromkeys(role for job in jobs for role in job.trains()):
        waiting = [job for job in jobs if job.failure is None and role in job.trains()]
        for group in _alike(waiting, partial(_size, role)):
            _all_or_each(group, partial(_train, role))
    for job in jobs:
        job.attempt(job.ask)


def _train(role: str, jobs: list[Job]) -> None:
    """Train one network of each job, or load them from the cache."""
    first = jobs[0]
    wanted = [job.wanted(role) for job in jobs]

    def fit(missing: list[int], place: Path) -> None:
        chosen = [jobs[index] for index in missing]
        file = first.resume_file(place)
        kept = (file.load() or {}) if len(missing) == 1 else {}
        progress = Progress(kept.get("stages", {}))
        for epoch, losses in train(
            [wanted[index].network for index in missing],
            [job.rows(role) for job in chosen],
            [job.training(role) for job in chosen],
            first.parts.hardware,
            progress,
        ):
            for job, loss in zip(chosen, losses, strict=True):
                job.tell(Step(role, epoch, job.config.training.epochs, {"loss": loss}))
            if len(missing) == 1:
                file.keep(progress)
        file.remove()

    cache = Path(first.config.outputs).absolute() / "cache"
    seconds = trained_once(cache, cached_as(role), wanted, fit)
    for job, want, spent in zip(jobs, wanted, seconds, strict=True):
        job.take(role, want.network, spent)


def _unlearn(jobs: list[Job]) -> None:
    """Let the method work on all jobs at once if it can, else on one after the other."""
    together = bool(jobs) and jobs[0].stacks and isinstance(jobs[0].parts.method, Together)
    for group in [jobs] if together else [[job] for job in jobs]:
        _all_or_each(group, _drive)


def _drive(jobs: list[Job]) -> None:
    """Step the method with all data sealed that it may not see; look at the students between."""
    for job in jobs:
        access = job.parts.method.access
        job.record.update(access=access, oracle=job.config.allow_oracle or access == "oracle")
        job.account = Usage(job.parts.data, job.parts.hardware.device)
        job.request = replace(job.request, progress=Progress())
    with _seeded(jobs[0].request.seed), ExitStack() as stack:
        for job in jobs:
            stack.callback(job.close_account)
        spent = jobs[0].take_up() if len(jobs) == 1 else 0.0
        view = jobs[0].account.view(jobs[0].parts.method.access, jobs[0].config.forget)
        with _method_alone(jobs):
            steps = _steps(jobs, view)
        stack.callback(steps.close)
        observed = None
        while True:
            with _method_alone(jobs):
                start = time.perf_counter()
                states = _advance(steps, observed)
                spent += time.perf_counter() - start
            if states is None:
                break
            if len(jobs) == 1:
                jobs[0].keep(spent)
            observed = [job.observe(state) for job, state in zip(jobs, states, strict=True)]
    for job in jobs:
        job.record["seconds"]["unlearn"] = spent / len(jobs)


@contextmanager
def _method_alone(jobs: list[Job]) -> Iterator[None]:
    """Seal all data, and watch the memory: all of several runs together, for each of them."""
    with ExitStack() as stack:
        for job in jobs:
            stack.enter_context(job.account.memory.watched())
            if job.parts.data is not None:
                stack.enter_context(job.parts.data.sealed())
        yield


def _steps(jobs: list[Job], view: Split | None) -> StepsTogether:
    method, request = jobs[0].parts.method, jobs[0].request
    if len(jobs) > 1:
        assert isinstance(method, Together)
        return method.unlearn_together([job.request for job in jobs])
    return _in_list(method.unlearn(request, view))


def _in_list(steps: Steps) -> StepsTogether:
    """The steps of one run, in the form of those of several."""
    observed: Observed | None = None
    while True:
        try:
            state = steps.send(observed)
        except StopIteration:
            return
        (observed,) = yield [state]


def _advance(
    steps: StepsTogether, observed: Sequence[Observed | None] | None
) -> list[State] | None:
    try:
        return next(steps) if observed is None else steps.send(observed)
    except StopIteration:
        return None


def _all_or_each(jobs: list[Job], work: Callable[[list[Job]], None]) -> None:
    """Do some work for all jobs together; if that fails, for each alone, to find whose fault."""
    if len(jobs) > 1:
        try:
            return work(jobs)
        except Exception:
            for job in jobs:
                job.forget_steps()
    for job in jobs:
        job.attempt(partial(work, [job]))


def _size(role: str, job: Job) -> int:
    """Networks are trained together if they are stacked and have equally many rows."""
    return len(job.rows(role)) if job.stacks else job.index


def _alike(jobs: list[Job], key: Callable[[Job], int]) -> list[list[Job]]:
    groups: dict[int, list[Job]] = {}
    for job in jobs:
        groups.setdefault(key(job), []).append(job)
    return list(groups.values())


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
