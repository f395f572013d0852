"""A run's hash names what determines its figures: it outlives moved files and new keys."""

import re

import pytest

from tests.helpers.config import resolve
from unlearn.config.hashing import config_hash

# As version 0.1 computed them: runs made then are still found done.
FIRST = {
    "": "e85519fef4625cea",
    "method=gkt": "993a9e33ffb098bd",
    "method=noise": "e2999a256c40461b",
    "method=inversion": "597e605a3d9db7c0",
    "method=delete": "07905c70f72d1dfd",
    "method=delete_inverted": "fa46a14b4ad0bcd1",
    "method=salun": "a886e028a629fb15",
    "method=retrain": "587c050b663912ac",
    "evaluation=audit": "2903635cf866b0a5",
    "evaluation=quick": "4b5cf0825f274c00",
    "experiment=leaderboard/digits": "ee2853c8913973c9",
    "experiment=ablation/gate": "db97cb6162ea99b3",
    "model=lenet": "77b0153dc1d8bd36",
    "method=gkt method.as_published=true": "874eae0b97e2987e",
    "method=regrow filter.gate=0.2 forget=[1,2] seed=3": "4fcc3af5aacd3000",
    "dataset=fashion_mnist dataset.root=x model=lenet method=scrub": "0d93b9c2009b3269",
}


@pytest.mark.parametrize("typed", sorted(FIRST))
def test_runs_of_the_first_version_are_found(typed: str) -> None:
    assert config_hash(resolve(*typed.split()), None) == FIRST[typed]


WHOLE = [
    "method=regrow method.depth=1 method.batch_norm_prior=0",
    "method=ssd method.selection_weight=40",
    "method=delete_inverted method.source.tv_weight=0",
]


@pytest.mark.parametrize("typed", WHOLE)
def test_a_whole_number_has_the_hash_of_its_float(typed: str) -> None:
    exact = [re.sub(r"=(\d+)$", r"=\1.0", word) for word in typed.split()]
    assert config_hash(resolve(*typed.split()), None) == config_hash(resolve(*exact), None)


@pytest.mark.parametrize(
    ("word", "same"),
    [
        *((w, True) for w in ("outputs=elsewhere", "force=true", "tracking.mode=disabled")),
        ("evaluation.pictures=true", True),
        *((w, False) for w in ("seed=1", "forget=[1]", "method.start=0.5", "model.width=0.5")),
    ],
)
def test_only_what_determines_the_figures_is_hashed(word: str, same: bool) -> None:
    assert (config_hash(resolve(), None) == config_hash(resolve(word), None)) == same
