"""What a metric sees and returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from unlearn.data.tensors import Data, Split
from unlearn.evaluation.cache import MeasurementCache
from unlearn.hardware import Hardware
from unlearn.models.outputs import compute_logits
from unlearn.protocol import Request, Samples

if TYPE_CHECKING:
    import pandas as pd

Figures = Mapping[str, Any]


@dataclass(frozen=True)
class Models:
    """The networks to compare, in eval mode; `retrained` is None where there is no data.

    `references` are further retrained networks, of the seeds that follow, as many as the config
    asks for: what the retrained network differs by from them is noise.
    """

    original: nn.Module
    retrained: nn.Module | None
    unlearned: nn.Module
    references: tuple[nn.Module, ...] = ()

    def items(self) -> Iterator[tuple[str, nn.Module]]:
        """Name and network of those that exist, short of the references."""
        for name in ("original", "retrained", "unlearned"):
            network = getattr(self, name)
            if network is not None:
                yield name, network


@dataclass(frozen=True)
class MetricContext:
    """Everything else that a metric may use.

    Args:
        request: what the method was given: classes, shape, bounds, hardware, seed.
        data: real images, or None.
        history: one row a recorded step, as written to history.parquet.
        samples: synthesised images that the method showed, or None.
        classes: names of the classes.
        figures: folder for pictures.
        shelf: what runs before this one have measured of the networks that it shares with them.
    """

    request: Request
    data: Data | None
    history: pd.DataFrame
    samples: Samples | None
    classes: tuple[str, ...]
    figures: Path
    shelf: MeasurementCache = field(default_factory=MeasurementCache)


class Metric(Protocol):
    """Measures models without changing them.

    `needs_data` says whether it has nothing to say without real images: the runner then leaves
    its figures null.
    """

    needs_data: bool

    def __call__(self, models: Models, setting: MetricContext) -> Figures:
        """Return named figures (numbers, None, or mappings of them) for the record."""
        ...


StudentFigures = Callable[[nn.Module], dict[str, float]]


@runtime_checkable
class StudentMetric(Protocol):
    """Measures the student alone, without data: at every look at it, and at the end."""

    def watch(self, request: Request) -> StudentFigures:
        """Make once what all looks share; return what takes the figures of a student.

        The student is in eval mode and is not changed, and neither is torch's random state:
        the method runs on between two looks.
        """
        ...


def measure_accuracy(
    network: nn.Module, split: Split, forget: tuple[int, ...], hardware: Hardware
) -> dict[str, float | None]:
    """Accuracy in percent over the retain rows and over the forget rows, None if there are none."""
    correct = compute_logits(network, split.images, hardware).argmax(dim=1) == split.labels
    forgotten = torch.isin(split.labels, torch.tensor(forget, device=split.labels.device))
    return {"retain": _percent(correct[~forgotten]), "forget": _percent(correct[forgotten])}


def _percent(correct: Tensor) -> float | None:
    return 100 * correct.double().mean().item() if len(correct) else None


def measure_models(
    models: Models,
    measure: Callable[[nn.Module], Any],
    what: Sequence[object],
    shelf: MeasurementCache,
) -> dict[str, Any]:
    """The same measurement of every model that exists, and a list of it over the references.

    Args:
        models: of which all but the unlearned one may have been measured already.
        measure: of one network, gives plain values.
        what: things whose `repr` says what is measured; see `Shelf`.
        shelf: where it is looked for.
    """

    def known(network: nn.Module) -> Any:
        return shelf.kept(what, [network], lambda: measure(network))

    found: dict[str, Any] = {
        name: measure(network) if network is models.unlearned else known(network)
        for name, network in models.items()
    }
    return found | {"references": [known(network) for network in models.references]}


def mean_of(figures: Sequence[float]) -> float | None:
    """The mean, None of nothing."""
    return sum(figures) / len(figures) if figures else None
