"""`experiment=published/...` uses a method's published settings, whatever its own are today."""

from typing import Any

import pytest
from hydra import compose
from omegaconf import DictConfig, OmegaConf

from unlearn.config.resolve import resolve_config

pytestmark = pytest.mark.usefixtures("composing")

TRAINING_ROWS = {"mnist": 60_000, "svhn": 73_257, "cifar10": 50_000, "fashion_mnist": 60_000}
# Settings of a method that the published ones do not use.
UNUSED = {"gkt": {"postfilter_threshold"}, "noise": {"repair_learning_rate"}}
OTHER: dict[type, Any] = {int: 7, float: 0.77, str: "other"}


def change_defaults(composed: DictConfig, unused: set[str]) -> None:
    """Change all of the method's own settings, which the published ones must replace."""
    for key, value in composed.method.items():
        if key not in ("_target_", "name", "as_published", "published", "quick"):
            other = not value if isinstance(value, bool) else OTHER[type(value)]
            OmegaConf.update(composed, f"method.{key}", 0.01 if key in unused else other)
    for key, other in (("filter.gate", 0.9), ("filter.entropy", 0.9), ("evaluation.every", 3)):
        OmegaConf.update(composed, key, other)


@pytest.mark.parametrize("method", UNUSED)
@pytest.mark.parametrize("dataset", TRAINING_ROWS)
def test_every_setting_is_the_published_one(dataset: str, method: str) -> None:
    words = [f"experiment=published/{dataset}", "model=lenet", f"method={method}"]
    composed = compose("config", words)
    published = composed.method.published
    expected = {**published["all"].method, **published.get(dataset, {}).get("method", {})}
    change_defaults(composed, UNUSED[method])
    run = resolve_config(composed, words)
    found = run.plain()["method"]
    own = {"_target_", "name", "as_published", *UNUSED[method]}
    assert {key: value for key, value in found.items() if key not in own} == expected
    assert run.method.as_published
    assert run.filter.gate == published["all"].filter.gate
    assert run.filter.entropy is None
    assert run.evaluation.every == (50 if method == "gkt" else 3)
    assert run.dataset.validation == 0
    ten_epochs = 10 * -(-TRAINING_ROWS[dataset] // 256)
    relearn = run.evaluation.metrics["relearn"]
    assert (relearn["batch_size"], relearn["max_steps"]) == (256, ten_epochs)
