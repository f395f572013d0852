"""What runs share is measured once, and is the same whether it was kept or measured."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

from unlearn.evaluation import cache
from unlearn.evaluation.base import Models, measure_models
from unlearn.evaluation.cache import MeasurementCache, hash_network
from unlearn.records.record import write_json


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


@dataclass(frozen=True)
class Weights:
    """Sums the first weights, and counts how often it was asked."""

    asked: list[int]
    shift: float = 0.0

    def __repr__(self) -> str:
        return f"Weights(shift={self.shift})"

    def __call__(self, one: nn.Module) -> dict[str, float]:
        self.asked.append(1)
        return {"sum": next(iter(one.parameters())).sum().item() / 3 + self.shift}


def test_contents_know_every_weight_statistic_and_layer() -> None:
    assert hash_network(network()) == hash_network(network())
    assert hash_network(network()) != hash_network(network(1))
    changed = network()
    with torch.no_grad():
        changed[1].running_mean[1] += 1e-7
    assert hash_network(changed) != hash_network(network())
    wider = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2, eps=1e-3))
    wider.load_state_dict(network().state_dict())
    assert hash_network(wider) != hash_network(network())


def test_shared_networks_are_measured_once_and_the_unlearned_one_each_time(tmp_path: Path) -> None:
    asked: list[int] = []
    measure = Weights(asked)
    for run in range(3):
        models = Models(network(0), network(1), network(10 + run), (network(2),))
        found = measure_models(
            models, measure, [measure], MeasurementCache(tmp_path, {"forget": [0]})
        )
        plain = measure_models(models, Weights([]), [Weights([])], MeasurementCache())
        assert found == plain, "to the last bit"
    assert len(asked) == 3 + 3


def test_another_measurement_network_or_setting_is_measured_anew(tmp_path: Path) -> None:
    asked: list[int] = []

    def kept(measure: Weights, one: nn.Module, forget: int) -> float:
        own = MeasurementCache(tmp_path, {"forget": [forget]})
        return own.get_or_measure([measure], [one], lambda: measure(one))["sum"]

    plain, shifted = Weights(asked), Weights(asked, shift=1.0)
    first = kept(plain, network(), 0)
    assert (kept(plain, network(), 0), len(asked)) == (first, 1)
    assert (kept(shifted, network(), 0), len(asked)) == (first + 1, 2)
    assert (kept(plain, network(), 1), len(asked)) == (first, 3)
    assert kept(plain, network(3), 0) != first
    assert len(asked) == 4


def test_changed_code_is_measured_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module on disk, loaded twice as another process would, with another formula."""
    monkeypatch.syspath_prepend(tmp_path)
    found = []
    for value in (1, 2):
        sys.modules.pop("formula", None)
        cache.hash_module.cache_clear()
        code = f"class Formula:\n    value = {value}\n    def __repr__(self): return 'Formula()'\n"
        (tmp_path / "formula.py").write_text(code + "#" * value)
        importlib.invalidate_caches()
        formula = importlib.import_module("formula").Formula()
        kept = cache.MeasurementCache(tmp_path / "kept").get_or_measure(
            [formula], [network()], lambda f=formula: f.value
        )
        found.append(kept)
    assert found == [1, 2]


def test_changed_code_of_this_package_is_measured_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A formula of the user's may call any of ours: all of it counts."""
    found = []
    for value in (1, 2, 2):
        monkeypatch.setattr(cache, "hash_package", lambda value=value: f"hash {value}")
        kept = MeasurementCache(tmp_path).get_or_measure(
            [Weights([])], [network()], lambda: len(found)
        )
        found.append(kept)
    assert found == [0, 1, 1]


def test_two_processes_may_keep_the_same_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one is about to rename what it has written when the other writes and renames it all."""
    target, rename = tmp_path / "kept.json", os.replace
    words = "import sys; from pathlib import Path; from unlearn.records.record import write_json; "
    other = [sys.executable, "-c", words + "write_json(Path(sys.argv[1]), 7)", str(target)]

    def meanwhile(source: Path, place: Path) -> None:
        subprocess.run(other, check=True)
        rename(source, place)

    monkeypatch.setattr("os.replace", meanwhile)
    write_json(target, 7)
    assert json.loads(target.read_text()) == 7
    assert list(tmp_path.iterdir()) == [target], "no temporary file is left"


def test_what_cannot_be_named_is_not_kept(tmp_path: Path) -> None:
    class Nameless:
        pass

    for value in (1, 2):
        found = MeasurementCache(tmp_path).get_or_measure(
            [Nameless()], [network()], lambda value=value: value
        )
        assert found == value
    assert not list(tmp_path.iterdir())
