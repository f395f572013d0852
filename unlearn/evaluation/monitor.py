"""Measurements of the student while its method runs."""

import time
from collections.abc import Mapping
from typing import Any

from torch import nn

from unlearn.data.tensors import Data
from unlearn.evaluation.accuracy import measure_accuracy
from unlearn.evaluation.base import Metric, StudentFigures, StudentMetric
from unlearn.protocol import Request, State


class StudentMonitor:
    """Measures a run's student; changes neither the student nor torch's random state.

    Args:
        request: What the method was given.
        data: Real images; None without a data set.
        metrics: Metrics of the run; the monitor uses the `StudentMetric`s among them.
        every: Steps between two measurements; None: the student is not measured on the way.

    Attributes:
        seconds: Time that `observe` has taken so far.
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
        self._prepared: dict[str, StudentFigures] = {}
        self.seconds = 0.0

    def observe(self, state: State) -> dict[str, Any]:
        """Measure the student of a step, if the step is due.

        Due are every `every`-th step and the last step of a stage.

        Returns:
            `retain` and `forget`: test accuracy, percent, if there is a data set; the figures of
            each `StudentMetric` as `METRIC.FIGURE`. Empty if the step is not due or has no student.
        """
        due = self._every and (state.step % self._every == 0 or state.step == state.total)
        if state.student is None or not due:
            return {}
        start, found = time.perf_counter(), dict[str, Any]()
        modes = {module: module.training for module in state.student.modules()}
        state.student.eval()
        if self._data is not None:
            forget, hardware = self._request.forget, self._request.hardware
            found |= measure_accuracy(state.student, self._data.test, forget, hardware)
        for name, figures in self.measure(state.student).items():
            found |= {f"{name}.{figure}": value for figure, value in figures.items()}
        for module, training in modes.items():
            module.training = training
        self.seconds += time.perf_counter() - start
        return found

    def measure(self, student: nn.Module) -> dict[str, dict[str, float]]:
        """Return the figures of each `StudentMetric` by its name, of a student in eval mode."""
        for name, metric in self._metrics.items():
            if name not in self._prepared:
                self._prepared[name] = metric.prepare(self._request)
        return {name: measure(student) for name, measure in self._prepared.items()}
