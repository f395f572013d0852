"""Measurements of all models, and the names of figures."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from hydra import compose
from hydra.utils import instantiate
from torch import nn

from unlearn.evaluation.base import FigureName, Models, measure_models, name_figures
from unlearn.evaluation.cache import MeasurementCache
from unlearn.report.figures import FIGURES, UNITS


@dataclass(frozen=True)
class WeightSum:
    """Sums the weights of a network and counts its calls."""

    calls: list[int]

    def __repr__(self) -> str:
        return "WeightSum()"

    def __call__(self, network: nn.Module) -> dict[str, float]:
        self.calls.append(1)
        return {"sum": sum(p.sum().item() for p in network.parameters()) / 3}


def test_shared_networks_are_measured_once_and_the_unlearned_one_each_time(tmp_path: Path) -> None:
    torch.manual_seed(0)
    original, retrained, reference = (nn.Linear(3, 2) for _ in range(3))
    measure, cache = WeightSum([]), MeasurementCache(tmp_path)
    for _ in range(3):
        models = Models(original, retrained, nn.Linear(3, 2), (reference,))
        found = measure_models(models, measure, [measure], cache)
        uncached = measure_models(models, WeightSum([]), [WeightSum([])], MeasurementCache())
        assert found == uncached, "to the last bit"
    assert len(measure.calls) == 3 + 3


@dataclass(frozen=True)
class Named:
    figure_names: ClassVar[Mapping[str, FigureName]] = {"value": FigureName("sharpness", "points")}


def test_figures_are_named_by_their_path_in_the_record() -> None:
    found = name_figures({"mine": Named(), "silent": object()}, {"yours": Named()})
    name = {"name": "sharpness", "unit": "points"}
    assert found == {"mine.value": name, "audits.yours/value.unlearned": name}


@pytest.mark.parametrize("words", [("",), ("a,b",), ("a", "[b"), ("a]",)])
def test_a_name_that_no_csv_head_can_hold_is_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="short name"):
        FigureName(*words)


@pytest.mark.usefixtures("composing")
def test_the_packages_own_names_are_those_of_the_report() -> None:
    """Reports use a fixed table for records that are older than the declared names."""
    config = compose("config", overrides=["evaluation=audit"]).evaluation
    names = name_figures(
        *(instantiate(group, _convert_="all") for group in (config.metrics, config.audits))
    )
    paths = {path: name for name, path in FIGURES.items()}
    declared = {path: name for path, name in names.items() if path in paths}
    assert declared == {
        path: {"name": paths[path], "unit": UNITS.get(paths[path], "")} for path in declared
    }
    outside = {"audits_inside", "seconds", "ledger", "peak_memory"}
    assert {p for p in paths if p.split(".")[0] not in outside} == set(declared)
    others = [name["name"] for path, name in names.items() if path not in paths]
    assert len({*others, *FIGURES}) == len(others) + len(FIGURES), "no short name is used twice"
