"""Runs the method step by step, with every real image sealed that its access does not grant."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from unlearn.data.synthesised import ImageCache
from unlearn.errors import RunError
from unlearn.evaluation.cache import hash_network, hash_package
from unlearn.evaluation.monitor import StudentMonitor
from unlearn.protocol import Observed, Request, Samples, State, Steps
from unlearn.records.record import merge
from unlearn.resume import Progress, ResumeFile
from unlearn.runner.memory import explaining_memory
from unlearn.runner.session import Session
from unlearn.runner.usage import Usage
from unlearn.tracking.base import Step


@dataclass(frozen=True)
class Result:
    """What a method ends with.

    Args:
        student: The unlearned network, in eval mode.
        samples: Some of the images that the method synthesised, or None.
    """

    student: nn.Module
    samples: Samples | None


def run_method(session: Session, request: Request, monitor: StudentMonitor) -> Result:
    """Let the method unlearn, and look at its student between its steps.

    Raises:
        RunError: If the method cannot go on, or yields no student.
    """
    method, config = session.parts.method, session.config
    session.record.update(
        access=method.access, oracle=config.allow_oracle or method.access == "oracle"
    )
    hardware = session.parts.hardware
    usage = Usage(session.parts.data, hardware.device)
    images = _open_images(session, request)
    request = replace(request, progress=Progress(), images=images)
    resume = session.open_resume_file(session.folder, method, request.teacher)
    spent, samples = _restore(session, request, usage, resume)
    student: nn.Module | None = None
    try:
        granted = usage.grant(method.access, config.forget)
        with _seed_torch(request.seed), closing(method.unlearn(request, granted)) as steps:
            observed: Observed | None = None
            while True:
                fitting = explaining_memory(config, "method", request.teacher, hardware)
                with fitting, usage.sealed():
                    start = time.perf_counter()
                    state = _advance(steps, observed)
                    spent += time.perf_counter() - start
                if state is None:
                    break
                student, samples = state.student or student, state.samples or samples
                if state.facts:
                    session.record["derived"] = dict(state.facts)
                _keep(session, request, usage, resume, spent, samples)
                observed = _observe(session, usage, monitor, state)
    finally:
        merge(session.record, usage.figures())
    session.record["seconds"]["unlearn"] = spent + images.seconds
    if student is None:
        raise RunError(f"method={config.method.name}: yielded no student")
    return Result(student.eval(), samples)


def _open_images(session: Session, request: Request) -> ImageCache:
    """Open the cache of images that were synthesised from this teacher, if they may be stored."""
    if not session.may_keep_images:
        return ImageCache()
    about = {
        "source": hash_package(),
        "teacher": hash_network(request.teacher),
        "bounds": [request.lowest.tolist(), request.highest.tolist()],
        "hardware": request.hardware.describe_arithmetic(),
    }
    return ImageCache(Path(session.config.outputs).absolute() / "cache" / "inverted", about)


def _advance(steps: Steps, observed: Observed | None) -> State | None:
    """Return the method's next state, or None if it has ended."""
    try:
        return next(steps) if observed is None else steps.send(observed)
    except StopIteration:
        return None


def _observe(
    session: Session, usage: Usage, monitor: StudentMonitor, state: State
) -> Observed | None:
    """Measure the student, tell the observers, and return what the method's access lets it know."""
    seen = monitor.observe(state)
    session.notify(Step(state.stage, state.step, state.total, state.scalars, seen))
    steered = "retain" in seen and session.parts.method.access == "oracle"
    return usage.tell(seen) if steered else None


def _keep(
    session: Session,
    request: Request,
    usage: Usage,
    resume: ResumeFile,
    spent: float,
    samples: Samples | None,
) -> None:
    """Write the state that the method has reached, if it is time to."""
    resume.keep(
        request.progress,
        told=session.history.plain(),
        usage=usage.plain(),
        spent=spent,
        resumed=session.record["resumed"],
        samples=None if samples is None else dict(vars(samples)),
    )


def _restore(
    session: Session, request: Request, usage: Usage, resume: ResumeFile
) -> tuple[float, Samples | None]:
    """Go on where an earlier attempt stopped.

    Returns:
        The seconds that the method has had so far, and the last samples that it has shown.
    """
    kept = resume.load()
    if kept is None:
        return 0.0, None
    session.record["resumed"] = kept["resumed"] + 1
    request.progress.saved = kept["stages"]
    trained_here = session.history.stages()
    for step in kept["told"]:
        if step["stage"] not in trained_here:
            session.notify(Step(**step))
    usage.restore(kept["usage"])
    device = session.parts.hardware.device
    shown = {name: tensor.to(device) for name, tensor in (kept["samples"] or {}).items()}
    return float(kept["spent"]), Samples(**shown) if shown else None


@contextmanager
def _seed_torch(seed: int) -> Iterator[None]:
    """Seed torch inside the block, and put its random state back afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
