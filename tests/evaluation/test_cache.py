"""The cache of measurements: what is read from it, and what is measured again."""

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

from unlearn.evaluation import cache
from unlearn.evaluation.cache import MeasurementCache, hash_network
from unlearn.files import report_damage


def make_network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


@dataclass(frozen=True)
class Setting:
    shift: float = 0.0


def test_the_hash_covers_every_weight_statistic_and_layer() -> None:
    assert hash_network(make_network()) == hash_network(make_network())
    assert hash_network(make_network()) != hash_network(make_network(1))
    changed = make_network()
    with torch.no_grad():
        changed[1].running_mean[1] += 1e-7
    assert hash_network(changed) != hash_network(make_network())
    other_layer = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2, eps=1e-3))
    other_layer.load_state_dict(make_network().state_dict())
    assert hash_network(other_layer) != hash_network(make_network())


def test_another_setting_network_or_determinant_is_measured_again(tmp_path: Path) -> None:
    measured: list[int] = []

    def get(setting: Setting, seed: int, forget: int) -> int:
        def measure() -> int:
            measured.append(1)
            return len(measured)

        found = MeasurementCache(tmp_path, {"forget": [forget]})
        return found.get_or_measure([setting], [make_network(seed)], measure)

    variants = [(Setting(), 0, 0), (Setting(1.0), 0, 0), (Setting(), 0, 1), (Setting(), 3, 0)]
    assert [get(*variant) for variant in variants] == [1, 2, 3, 4]
    assert [get(*variant) for variant in variants] == [1, 2, 3, 4]


def test_changed_code_is_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
        measurements = MeasurementCache(tmp_path / "cache")
        found.append(
            measurements.get_or_measure([formula], [make_network()], lambda f=formula: f.value)
        )
    assert found == [1, 2]


def test_changed_package_code_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's formula may call any of the package's functions."""
    found: list[int] = []
    for value in (1, 2, 2):
        monkeypatch.setattr(cache, "hash_package", lambda value=value: f"hash {value}")
        measurements = MeasurementCache(tmp_path)
        found.append(measurements.get_or_measure([Setting()], [make_network()], lambda: len(found)))
    assert found == [0, 1, 1]


def test_a_setting_without_a_repr_of_its_own_is_not_stored(tmp_path: Path) -> None:
    for value in (1, 2):
        found = MeasurementCache(tmp_path).get_or_measure(
            [object()], [make_network()], lambda value=value: value
        )
        assert found == value
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "content", ["", '{"measured": 1', "{}", "[]", '{"measured": 3, "digest": ""}']
)
def test_damage_is_repaired(
    tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    report_damage.cache_clear()
    found = []
    for measured in (1, 2, 3):
        kept = MeasurementCache(tmp_path)
        found.append(
            kept.get_or_measure([Setting()], [make_network()], lambda m=measured: {"a": m})
        )
        if measured == 1:
            (file,) = tmp_path.iterdir()
            file.write_text(content)
    assert found == [{"a": 1}, {"a": 2}, {"a": 2}]
    assert capsys.readouterr().err.count(str(file)) == 1
