"""A method that is cut off goes on with all that its earlier stages have told."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from hydra import compose
from torch import Tensor

from tests.helpers.tiny import CPU, MakeRequest, seeded_net
from unlearn.config.resolve import resolve_config
from unlearn.data.tensors import Split
from unlearn.errors import RunError
from unlearn.evaluation.monitor import StudentMonitor
from unlearn.protocol import Request, Samples, State, Steps
from unlearn.records.template import new_record
from unlearn.runner.build import Parts
from unlearn.runner.method import run_method
from unlearn.runner.session import Session

pytestmark = pytest.mark.usefixtures("composing")


class TwoStages:
    """Shows samples at the end of its first stage, and breaks in the second if it is told to."""

    access = "none"

    def __init__(self, breaks: bool) -> None:
        self.breaks = breaks

    def unlearn(self, request: Request, data: Split | None) -> Steps:
        noise = torch.zeros(4, 1, 8, 8)
        for step in request.progress.steps("noise", 3, lambda: {"noise": noise}):
            noise.add_(step)
            shown = show(noise) if step == 3 else None
            yield State("noise", step, 3, None, {"loss": 1.0 / step}, shown)
        student = seeded_net(2)
        for step in request.progress.steps("repair", 3, lambda: {"student": student}):
            if self.breaks and step == 3:
                raise RunError("broken")
            yield State("repair", step, 3, student, {"loss": 2.0 / step})


def show(images: Tensor) -> Samples:
    return Samples(images.clone(), torch.ones(len(images)), torch.arange(len(images)))


def open_session(folder: Path, breaks: bool) -> Session:
    folder.mkdir(exist_ok=True)
    config = resolve_config(compose("config", ["checkpoint_every=0"]), [])
    parts = SimpleNamespace(observers=[], method=TwoStages(breaks), data=None, hardware=CPU)
    return Session(config, cast("Parts", parts), new_record(config, "0123"), folder)


def test_samples_and_history_survive_a_failed_attempt(
    tmp_path: Path, make_request: MakeRequest
) -> None:
    def attempt(folder: str, breaks: bool) -> tuple[Samples | None, list[dict[str, Any]], int]:
        session, request = open_session(tmp_path / folder, breaks), make_request()
        result = run_method(session, request, StudentMonitor(request, None, {}, None))
        return result.samples, session.history.plain(), session.record["resumed"]

    with pytest.raises(RunError, match="broken"):
        attempt("cut", breaks=True)
    samples, history, resumed = attempt("cut", breaks=False)
    whole, wanted, _ = attempt("whole", breaks=False)
    assert resumed == 1
    assert samples is not None
    assert whole is not None
    assert torch.equal(samples.images, whole.images)
    assert torch.equal(samples.classes, whole.classes)
    assert history == wanted
