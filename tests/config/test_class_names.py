"""Classes by name, and other short forms that are resolved before a run."""

from typing import Any

import pytest

from tests.helpers.config import resolve
from unlearn.config.class_names import number_classes
from unlearn.config.hashing import config_hash
from unlearn.errors import ConfigError

NAMES = ("cat", "dog", "3", "ankle boot", "twin", "twin")


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("dog", [1]),
        (["dog", "cat"], [1, 0]),
        (["ankle boot", 0], [3, 0]),
        (["3"], [2]),
        ([3], [3]),
        (3, 3),
        ([True, 1.5, None], [True, 1.5, None]),
        ({"a": 1}, {"a": 1}),
    ],
)
def test_names_become_indices_and_all_else_stays(typed: Any, expected: Any) -> None:
    assert number_classes(typed, NAMES) == expected


@pytest.mark.parametrize("typed", ["wolf", ["cat", "wolf"]])
def test_an_unknown_name_is_answered_with_the_names(typed: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        number_classes(typed, NAMES)
    assert caught.value.key == "forget"
    assert "\n" not in str(caught.value)
    assert "wolf" in str(caught.value)
    assert "0 to 5" in str(caught.value)
    assert ", ".join(NAMES) in str(caught.value)


def test_near_names_are_listed() -> None:
    names = (*(f"n{i:08}" for i in range(999)), "tabby cat")
    with pytest.raises(ConfigError) as caught:
        number_classes(["tabby_cat"], names)
    assert "tabby cat" in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(("name", "names"), [("twin", NAMES), ("cat", None), ("0", None)])
def test_a_name_that_means_no_one_class_is_refused(name: str, names: Any) -> None:
    with pytest.raises(ConfigError):
        number_classes([name], names)


def test_a_class_by_name_is_the_same_run_as_by_index() -> None:
    hashes = set()
    for forget in ("[3,5]", "[dog,cat]", "[cat,5]"):
        config = resolve("dataset=cifar10", f"forget={forget}")
        assert config.forget == (3, 5)
        hashes.add(config_hash(config, None))
    assert len(hashes) == 1


@pytest.mark.parametrize(("channels", "levels"), [(1, (0.5,)), (3, (0.5, 0.5, 0.5))])
def test_one_mean_stands_for_all_channels(channels: int, levels: tuple[float, ...]) -> None:
    words = ["dataset=npz", "dataset.root=x.npz", "dataset.num_classes=9"]
    assert resolve(*words, f"dataset.shape=[{channels},28,28]").dataset.mean == levels
