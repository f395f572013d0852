"""The protocol of an audit: one network at a time, compared with retrained networks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar

import torch
from torch import Tensor, nn

from unlearn.data.tensors import Data, Split, draw_rows
from unlearn.evaluation.cache import MeasurementCache
from unlearn.models.copies import copy_network
from unlearn.models.features import feature_places, features_at
from unlearn.models.outputs import compute_logits
from unlearn.protocol import Request

Part = Literal["retain", "forget", "members"]
Value = TypeVar("Value")

TEST_PARTS: tuple[Part, ...] = ("retain", "forget")


@dataclass(frozen=True)
class AuditFigure:
    """A number that an audit finds in a network.

    Args:
        value: The number.
        resolution: The smallest step of the number, as 100 / N for a percentage of N rows; 0 for
            a continuous one.
    """

    value: float
    resolution: float = 0.0


AuditFigures = Mapping[str, AuditFigure | list[float]]


@dataclass(frozen=True)
class AuditContext:
    """What all networks of a run are audited on.

    Args:
        request: What the method was given: classes, image shape and bounds, hardware, seed.
        data: Real images.
        judge: Teacher of the next seed, trained on all classes; None if no audit needs it.
        max_rows: Upper limit on the rows of each part.
        measurements: Cache of what other runs' audits found in networks that they share with
            this run.
    """

    request: Request
    data: Data
    judge: nn.Module | None
    max_rows: int
    measurements: MeasurementCache = field(default_factory=MeasurementCache)
    _splits: dict[object, Split] = field(default_factory=dict, init=False, compare=False)

    def select_rows(self, part: Part) -> Split:
        """Select at most `max_rows` rows at random, the same at every call.

        Args:
            part: `retain` and `forget` are test rows of the retain and of the forget classes;
                `members` are training rows of the forget classes.
        """

        def select() -> Split:
            split = self.data.train if part == "members" else self.data.test
            classes = self.request.retain if part == "retain" else self.request.forget
            found, random = split.only(classes), torch.Generator().manual_seed(self.request.seed)
            rows = torch.randperm(len(found), generator=random)[: self.max_rows]
            return found.at(rows.to(self.request.hardware.device))

        return _compute_once(self._splits, part, select)

    def draw_training_rows(self, per_class: int, seed: int | None = None) -> Split:
        """Draw training rows of all classes at random, the same at every call.

        Args:
            per_class: Rows of each class; a class that has fewer gives all its rows.
            seed: Seed of the draw; None: that of the request.
        """
        seed = self.request.seed if seed is None else seed

        def draw() -> Split:
            random = torch.Generator().manual_seed(seed)
            return self.data.train.at(draw_rows(self.data.train.labels, per_class, random))

        return _compute_once(self._splits, (per_class, seed), draw)


class AuditedNetwork:
    """A network under audit, with its logits and features, each computed once.

    Args:
        network: In eval mode; no audit may change it.
        context: What it is audited on.
    """

    def __init__(self, network: nn.Module, context: AuditContext) -> None:
        self.network, self.context = network, context
        self._logits: dict[object, Tensor] = {}
        self._features: dict[object, dict[str, Tensor]] = {}

    def compute_logits(self, part: Part) -> Tensor:
        """Compute the logits (N, K), float32, of the rows of a part."""
        rows, hardware = self.context.select_rows(part), self.context.request.hardware
        return _compute_once(
            self._logits, part, lambda: compute_logits(self.network, rows.images, hardware)
        )

    def compute_features(self, rows: Split) -> dict[str, Tensor]:
        """Compute the features (N, D), float32, on the CPU, of rows at each place of the network.

        Args:
            rows: A split that the context returned.

        Returns:
            Features by place, in the network's order; the last are the penultimate features.
        """
        request = self.context.request
        places = feature_places(self.network, request.attention)

        def compute() -> dict[str, Tensor]:
            found = features_at(self.network, places, rows.images, request.hardware, grid=1)
            return dict(zip(places, found, strict=True))

        return _compute_once(self._features, id(rows), compute)

    def find_last_place(self) -> str:
        """Return the place of the penultimate features, the input of the last linear layer."""
        return feature_places(self.network, self.context.request.attention)[-1]

    def measure_forget_accuracy(self, network: nn.Module | None = None) -> float:
        """Measure the accuracy on the forget classes' test rows, in percent.

        Args:
            network: A changed copy of the network, in eval mode; None: the network itself.
        """
        rows, hardware = self.context.select_rows("forget"), self.context.request.hardware
        logits = (
            self.compute_logits("forget")
            if network is None
            else compute_logits(network, rows.images, hardware)
        )
        return 100 * (logits.argmax(dim=1) == rows.labels).double().mean().item()

    @property
    def forget_resolution(self) -> float:
        """The smallest step of `measure_forget_accuracy`, percent."""
        return 100 / max(1, len(self.context.select_rows("forget")))

    def copy_to_train(self) -> nn.Module:
        """Copy the network, with parameters that can be trained."""
        return copy_network(self.network).requires_grad_(True)


class Audit(Protocol):
    """Finds named numbers in a network; they are then compared with those of retrained networks.

    An optional attribute `figure_names` names the numbers for reports; see
    `unlearn.evaluation.base.name_figures`.
    """

    @property
    def needs_judge(self) -> bool:
        """Whether the audit uses `AuditContext.judge`."""
        ...

    def __call__(self, audited: AuditedNetwork, peers: Sequence[AuditedNetwork]) -> AuditFigures:
        """Return the numbers of a network, and curves (lists of numbers) for charts.

        Args:
            audited: The network. The audit must not depend on whether it is an original, an
                unlearned or a retrained network.
            peers: Retrained networks other than `audited`, equally many for every network.
        """
        ...


def _compute_once(known: dict[object, Value], key: object, compute: Callable[[], Value]) -> Value:
    if key not in known:
        known[key] = compute()
    return known[key]
