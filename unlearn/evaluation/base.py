"""The protocol of a metric: what it is given, what it returns, and how it names its figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from torch import nn

from unlearn.data.tensors import Data
from unlearn.evaluation.cache import MeasurementCache
from unlearn.protocol import Request, Samples

if TYPE_CHECKING:
    import pandas as pd

Figures = Mapping[str, Any]


@dataclass(frozen=True)
class FigureName:
    """How a report heads the column of a figure.

    Args:
        short: Name of the figure; not empty, without commas and square brackets.
        unit: Unit of the figure, as "%", "bits" or "steps"; empty for a figure without a unit.

    Raises:
        ValueError: If `short` is empty, or either text holds a comma or a square bracket.
    """

    short: str
    unit: str = ""

    def __post_init__(self) -> None:
        """Check the texts, which reports write into the heads of CSV columns."""
        if not self.short or set(self.short + self.unit) & set(",[]"):
            raise ValueError(f"{self!r}: a short name is needed, without commas and brackets")


def name_figures(metrics: Mapping[str, object], audits: Mapping[str, object]) -> dict[str, Any]:
    """Collect the names that metrics and audits declare for their own figures.

    A metric or an audit declares names in an optional attribute `figure_names`, a mapping from a
    figure to its `FigureName`. A metric's key is the dotted path in what the metric returns, as
    `excess` or `unlearned.-1`; an audit's key is the name of the number.

    Args:
        metrics: Metrics by their key in `evaluation.metrics`.
        audits: Audits by their key in `evaluation.audits`.

    Returns:
        `{path: {"name": ..., "unit": ...}}`, where `path` is the figure's dotted path in the
        record: `METRIC.FIGURE`, or `audits.AUDIT/NUMBER.unlearned`.
    """
    names: dict[str, FigureName] = {}
    for key, metric in metrics.items():
        for figure, name in getattr(metric, "figure_names", {}).items():
            names[f"{key}.{figure}"] = name
    for key, audit in audits.items():
        for number, name in getattr(audit, "figure_names", {}).items():
            names[f"audits.{key}/{number}.unlearned"] = name
    return {path: {"name": name.short, "unit": name.unit} for path, name in names.items()}


@dataclass(frozen=True)
class Models:
    """The networks that metrics compare, all in eval mode.

    Args:
        original: The teacher.
        retrained: Network trained without the forget classes; None without a data set.
        unlearned: The student.
        references: Further retrained networks, trained with the seeds that follow the run's own.
            Their differences from `retrained` are the noise floor of a figure.
    """

    original: nn.Module
    retrained: nn.Module | None
    unlearned: nn.Module
    references: tuple[nn.Module, ...] = ()

    def items(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield the name and network of each model that exists, without the references."""
        for name in ("original", "retrained", "unlearned"):
            network = getattr(self, name)
            if network is not None:
                yield name, network


@dataclass(frozen=True)
class MetricContext:
    """Everything besides the networks that a metric may use.

    Args:
        request: What the method was given: classes, image shape and bounds, hardware, seed.
        data: Real images; None without a data set.
        history: One row a recorded step, as written to history.parquet.
        samples: Synthesised images that the method showed; None if it showed none.
        class_names: Names of the K classes.
        picture_folder: Folder that pictures are written to; it need not exist.
        measurements: Cache of what other runs measured of networks that they share with this run.
    """

    request: Request
    data: Data | None
    history: pd.DataFrame
    samples: Samples | None
    class_names: tuple[str, ...]
    picture_folder: Path
    measurements: MeasurementCache = field(default_factory=MeasurementCache)


class Metric(Protocol):
    """Measures the models of a run without changing them.

    An optional attribute `figure_names` names the figures for reports; see `name_figures`.
    """

    @property
    def needs_data(self) -> bool:
        """Whether the metric needs real images; without a data set its figures are then null."""
        ...

    def __call__(self, models: Models, context: MetricContext) -> Figures:
        """Return named figures for the record: numbers, None, or lists and mappings of them."""
        ...


StudentFigures = Callable[[nn.Module], dict[str, float]]


@runtime_checkable
class StudentMetric(Protocol):
    """Measures the student alone and without data, while the method runs and at the end."""

    def prepare(self, request: Request) -> StudentFigures:
        """Compute once what all measurements share, and return the function that measures.

        The returned function takes a student in eval mode and returns its figures. It changes
        neither the student nor torch's random state, because the method goes on afterwards.

        Args:
            request: What the method was given.
        """
        ...


def measure_models(
    models: Models,
    measure: Callable[[nn.Module], Any],
    settings: Sequence[object],
    measurements: MeasurementCache,
) -> dict[str, Any]:
    """Measure every model that exists in the same way, and every reference.

    Args:
        models: Networks to measure. All but the unlearned one are looked up in the cache first.
        measure: Measurement of one network; returns plain values (see `MeasurementCache`).
        settings: Objects whose `repr` says what `measure` does; see `MeasurementCache`.
        measurements: Cache of measurements.

    Returns:
        A value for each model under its name, and a list of values under `references`.
    """

    def measure_shared(network: nn.Module) -> Any:
        return measurements.get_or_measure(settings, [network], lambda: measure(network))

    found: dict[str, Any] = {
        name: measure(network) if network is models.unlearned else measure_shared(network)
        for name, network in models.items()
    }
    return found | {"references": [measure_shared(network) for network in models.references]}


def average(figures: Sequence[float]) -> float | None:
    """Return the mean of some figures, None if there are none."""
    return sum(figures) / len(figures) if figures else None
