"""`experiment=[X,quick]` lays a method's `quick` settings over its others, and typed keys win."""

import pytest
from hydra import compose
from omegaconf import OmegaConf

from unlearn.config.resolve import resolve_config

pytestmark = pytest.mark.usefixtures("composing")


@pytest.mark.parametrize("method", ["gkt", "noise", "inversion", "ispf", "regrow", "regrow_upper"])
def test_the_quick_settings_are_used(method: str) -> None:
    words = [f"method={method}", "experiment=quick"]
    composed = compose("config", words)
    found = resolve_config(composed, words).plain()["method"]
    assert OmegaConf.merge(found, composed.method.quick) == found
    assert found != OmegaConf.to_container(composed.method)
    assert "quick" not in found


def test_they_are_not_used_without_the_experiment() -> None:
    own = compose("config", ["method=gkt"])
    found = resolve_config(own, ["method=gkt"]).plain()
    assert found["method"]["iterations"] == own.method.iterations
    assert "quick" not in found["method"]
    assert "quick" not in found


def test_they_lie_over_the_published_settings_and_under_typed_keys() -> None:
    words = ["experiment=[published/mnist,quick]", "dataset.root=x", "method.generator_width=6"]
    composed = compose("config", words)
    found = resolve_config(composed, words).plain()["method"]
    assert found["iterations"] == composed.method.quick.iterations
    assert found["generator_width"] == 6
    assert found["latent"] == composed.method.published.all.method.latent
