"""When the student is measured, and in which state it is left."""

from dataclasses import dataclass

import pytest
from torch import nn

from tests.helpers.tiny import MakeRequest, seeded_net
from unlearn.data.tensors import Data
from unlearn.evaluation.base import StudentFigures
from unlearn.evaluation.monitor import StudentMonitor
from unlearn.protocol import Request, State


@dataclass(frozen=True)
class Mode:
    """Says whether the student is in train mode."""

    def prepare(self, request: Request) -> StudentFigures:
        return lambda student: {"training": float(student.training)}


@pytest.mark.parametrize("with_data", [True, False])
def test_due_steps_are_measured(
    make_request: MakeRequest, easy_data: Data, with_data: bool
) -> None:
    data = easy_data if with_data else None
    monitor = StudentMonitor(make_request(), data, {"mode": Mode()}, every=2)
    student = nn.Sequential(seeded_net(1).train(), nn.Identity().eval())
    student.train(False)[0].train()
    for step, due in ((1, False), (2, True), (3, False), (4, True), (5, True)):
        found = monitor.observe(State("transfer", step, 5, student))
        expected = {"mode.training", *(("retain", "forget") if with_data else ())}
        assert set(found) == (expected if due else set())
        assert found.get("mode.training", 0.0) == 0.0
        assert [part.training for part in student] == [True, False]
    assert monitor.observe(State("transfer", 2, 5, None)) == {}
