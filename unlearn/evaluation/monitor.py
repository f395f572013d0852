"""Looking at a student while its method runs on: real accuracy, and what is known without data."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from torch import nn

from unlearn.data.tensors import Data
from unlearn.evaluation.base import Metric, StudentFigures, StudentMetric, measure_accuracy
from unlearn.protocol import Request, State


class StudentMonitor:
    """The looks at one run's students; none changes a student or torch's random state.

    Args:
        request: what the method was given.
        data: real images, or None.
        metrics: of the run; those that watch are asked at each look.
        every: steps between two looks; None: none.
    """

    def __init__(
        self,
        request: Request,
        data: Data | None,
        metrics: Mapping[str, Metric | StudentMetric],
        every: int | None,
    ) -> None:
        self._request, self._data, self._every = request, data, every
        self._metrics = {name: m for name, m in metrics.items() if isinstance(m, StudentMetric)}
        self._watched: dict[str, StudentFigures] = {}
        self.seconds = 0.0

    def look(self, state: State) -> dict[str, Any]:
        """The student's test accuracy and what is known of it without data.

        At every `every`-th step and the last; the second under the metric's name and a dot.
        """
        due = self._every and (state.step % self._every == 0 or state.step == state.total)
        if state.student is None or not due:
            return {}
        start, seen = time.perf_counter(), dict[str, Any]()
        modes = {module: module.training for module in state.student.modules()}
        state.student.eval()
        if self._data is not None:
            forget, hardware = self._request.forget, self._request.hardware
            seen |= measure_accuracy(state.student, self._data.test, forget, hardware)
        for name, figures in self.figures(state.student).items():
            seen |= {f"{name}.{figure}": value for figure, value in figures.items()}
        for module, training in modes.items():
            module.training = training
        self.seconds += time.perf_counter() - start
        return seen

    def figures(self, student: nn.Module) -> dict[str, dict[str, float]]:
        """What each watching metric says of a student in eval mode."""
        for name, metric in self._metrics.items():
            if name not in self._watched:
                self._watched[name] = metric.watch(self._request)
        return {name: figures(student) for name, figures in self._watched.items()}
