"""What an audit sees and returns: one network at a time, and retrained networks beside it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar

import torch
from torch import Tensor, nn

from unlearn.data.tensors import Data, Split
from unlearn.evaluation.cache import MeasurementCache
from unlearn.models.features import feature_places, features_at
from unlearn.models.outputs import compute_logits
from unlearn.protocol import Request

Part = Literal["retain", "forget", "members"]
Found = TypeVar("Found")


@dataclass(frozen=True)
class Figure:
    """A number found in a network; `resolution` is its smallest step, 0 if it has none."""

    value: float
    resolution: float = 0.0


Findings = Mapping[str, Figure | list[float]]


@dataclass(frozen=True)
class AuditContext:
    """What all networks of a run are audited on.

    Args:
        request: classes, shape, bounds, hardware and the seed of everything random.
        data: real images.
        judge: a network trained on all classes of another seed's draw, where an audit needs one.
        most: rows of each part, at most.
        shelf: what other runs' audits have found in the networks that this one shares with them.
    """

    request: Request
    data: Data
    judge: nn.Module | None
    most: int
    shelf: MeasurementCache = field(default_factory=MeasurementCache)
    _kept: dict[object, Split] = field(default_factory=dict, init=False, compare=False)

    def rows(self, part: Part) -> Split:
        """Test rows of the retain or the forget classes, or training rows of the latter."""
        retain, forget = self.data.retained(self.request.forget), self.request.forget
        split = self.data.train if part == "members" else self.data.test
        return _once(
            self._kept, part, lambda: self._some(split, retain if part == "retain" else forget)
        )

    def taught(self, count: int) -> Split:
        """So many training rows of each class, or all that there are."""

        def draw() -> Split:
            train, order = self.data.train, self._order(len(self.data.train))
            labels = train.labels[order]
            picked = [order[labels == c][:count] for c in range(self.data.num_classes)]
            rows = torch.cat(picked)
            return Split(train.images[rows], train.labels[rows])

        return _once(self._kept, count, draw)

    def _some(self, split: Split, classes: tuple[int, ...]) -> Split:
        found = split.only(classes)
        rows = self._order(len(found))[: self.most]
        return Split(found.images[rows], found.labels[rows])

    def _order(self, count: int) -> Tensor:
        random = torch.Generator().manual_seed(self.request.seed)
        return torch.randperm(count, generator=random).to(self.request.hardware.device)


class Subject:
    """A network under audit, which no audit changes, and what has been read of it already.

    Args:
        network: in eval mode.
        bench: what it is audited on.
    """

    def __init__(self, network: nn.Module, bench: AuditContext) -> None:
        self.network, self.bench = network, bench
        self._logits: dict[object, Tensor] = {}
        self._features: dict[object, dict[str, Tensor]] = {}

    def logits(self, part: Part) -> Tensor:
        """Logits (N, K), float32, of a part's rows."""
        rows, hardware = self.bench.rows(part), self.bench.request.hardware
        return _once(
            self._logits, part, lambda: compute_logits(self.network, rows.images, hardware)
        )

    def features(self, rows: Split) -> dict[str, Tensor]:
        """Features (N, D) of rows at each place, as `features_at` reads them, penultimate last."""
        request = self.bench.request
        places = feature_places(self.network, request.attention)

        def read() -> dict[str, Tensor]:
            found = features_at(self.network, places, rows.images, request.hardware, grid=1)
            return dict(zip(places, found, strict=True))

        return _once(self._features, id(rows), read)

    def right(self, network: nn.Module | None = None) -> float:
        """Percent of the forget classes' test rows that it, or what became of it, has right."""
        rows, hardware = self.bench.rows("forget"), self.bench.request.hardware
        logits = (
            self.logits("forget")
            if network is None
            else compute_logits(network, rows.images, hardware)
        )
        return 100 * (logits.argmax(dim=1) == rows.labels).double().mean().item()

    @property
    def resolution(self) -> float:
        """The smallest step of `right`, percent."""
        return 100 / max(1, len(self.bench.rows("forget")))

    def to_train(self) -> nn.Module:
        """A copy whose parameters can be trained."""
        return copy.deepcopy(self.network).requires_grad_(True)


class Audit(Protocol):
    """Finds named numbers in a network, which are then set among those of retrained networks.

    `needs_judge` says whether it asks `Bench.judge`.
    """

    needs_judge: bool

    def __call__(self, subject: Subject, peers: Sequence[Subject]) -> Findings:
        """The numbers of a network, and curves: lists of numbers, kept for pictures alone.

        Args:
            subject: may be retrained itself; nothing in the audit may depend on what it is.
            peers: retrained networks other than it, equally many for each subject.
        """
        ...


def _once(kept: dict[object, Found], key: object, make: Callable[[], Found]) -> Found:
    if key not in kept:
        kept[key] = make()
    return kept[key]
