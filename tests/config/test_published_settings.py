"""`experiment=published/...` composes the paper's settings, whatever the methods' own are today."""

from typing import Any

import pytest
from hydra import compose
from omegaconf import DictConfig, OmegaConf

from unlearn.config.resolve import resolve_config
from unlearn.report.reading import flatten

pytestmark = pytest.mark.usefixtures("composing")


# "Zero-Shot Machine Unlearning" and, where it is silent, its published code.
EPOCHS = {"mnist": 10, "svhn": 10, "cifar10": 40, "fashion_mnist": 10}
TRAINING_ROWS = {"mnist": 60_000, "svhn": 73_257, "cifar10": 50_000, "fashion_mnist": 60_000}
GKT = {
    "iterations": 4000,
    "batch_size": 256,
    "student_steps": 10,
    "fresh_noise": False,
    "generator_steps": 1,
    "latent": 128,
    "generator_width": 128,
    "learning_rate": 0.001,
    "generator_learning_rate": 0.001,
    "clip": 5.0,
    "attention_weight": 250.0,
    "temperature": 1.0,
    "target": "raw",
    "start": 0.0,
    "fresh_readout": False,
    "batch_norm": "published",
    "schedule": "published",
    "selection": "oracle",
}
NOISE = {
    "noises": 256,
    "noise_steps": 400,
    "noise_learning_rate": 0.1,
    "regularisation": 0.1,
    "patience": 10,
    "maximised": 1.0,
    "valid": False,
    "fresh_readout": False,
    "impair": True,
    "copies": 20,
    "batch_size": 256,
    "epochs": 1,
    "learning_rate": 0.01,
    "repair_epochs": 0,
    "batch_norm": "train",
}
FAST = {"learning_rate": 0.01, "generator_learning_rate": 0.01}
METHODS: dict[tuple[str, str], dict[str, Any]] = {
    ("mnist", "gkt"): GKT | FAST,
    ("svhn", "gkt"): GKT,
    ("cifar10", "gkt"): GKT | {"temperature": 0.5},
    ("fashion_mnist", "gkt"): GKT | FAST,
    ("mnist", "noise"): NOISE,
    ("svhn", "noise"): NOISE | {"epochs": 3, "learning_rate": 0.001},
    ("cifar10", "noise"): NOISE | {"epochs": 2},
    ("fashion_mnist", "noise"): NOISE,
}
# Words of a method that its published settings do not use.
UNUSED = {"gkt": {"postfilter_threshold"}, "noise": {"repair_learning_rate"}}
OTHER: dict[type, Any] = {bool: None, int: 7, float: 0.77, str: "other"}


def with_other_defaults(composed: DictConfig) -> DictConfig:
    """The method's own settings, which the published ones are laid over, all changed."""
    for key, value in composed.method.items():
        if key not in ("_target_", "name", "as_published", "published", "quick"):
            other = not value if isinstance(value, bool) else OTHER[type(value)]
            OmegaConf.update(composed, f"method.{key}", other)
    OmegaConf.update(composed, "filter.gate", 0.9)
    OmegaConf.update(composed, "filter.entropy", 0.9)
    OmegaConf.update(composed, "evaluation.every", 3)
    return composed


@pytest.mark.parametrize("model", ["allcnn_full", "lenet", "resnet9"])
@pytest.mark.parametrize(("dataset", "method"), METHODS)
def test_the_settings_are_the_papers(dataset: str, method: str, model: str) -> None:
    words = [f"experiment=published/{dataset}", f"model={model}", f"method={method}"]
    composed = with_other_defaults(compose("config", words))
    for key in UNUSED[method]:
        composed.method[key] = 0.01
    run = resolve_config(composed, words)
    values = flatten(run.plain())
    expected = METHODS[dataset, method]
    found = {key.removeprefix("method."): v for key, v in values.items() if key[:7] == "method."}
    own = {"_target_", "name", "as_published", *UNUSED[method]}
    assert {key: value for key, value in found.items() if key not in own} == expected
    assert run.method.as_published
    assert values["filter.gate"] == (0.01 if method == "gkt" else None)
    assert values["filter.entropy"] is None
    assert run.dataset.name == dataset
    assert run.dataset.validation == 0
    assert (run.training.epochs, run.training.batch_size) == (EPOCHS[dataset], 256)
    assert values.get("model.width") == (None if model == "lenet" else 1.0)
    if method == "gkt":
        assert run.evaluation.every == 50
    ten_epochs = 10 * -(-TRAINING_ROWS[dataset] // 256)
    relearn = run.evaluation.metrics["relearn"]
    assert {k: relearn[k] for k in ("batch_size", "margin", "learning_rate", "max_steps")} == {
        "batch_size": 256,
        "margin": 0.05,
        "learning_rate": 0.001,
        "max_steps": ten_epochs,
    }


@pytest.mark.parametrize("dataset", EPOCHS)
def test_the_sweep_is_every_network_method_and_forget_set(dataset: str) -> None:
    words = [f"experiment=published/{dataset}"]
    hydra = compose("config", words, return_hydra_config=True).hydra
    assert hydra.mode.name == "MULTIRUN"
    assert hydra.sweeper.params == {
        "seed": "range(0,5)",
        "model": "allcnn_full,lenet,resnet9",
        "method": "gkt,noise",
        "forget": "[0],[1,2]",
    }
