"""The methods on retain images or all images, from their own YAML, small enough for unit tests."""

from __future__ import annotations

from typing import Any

from hydra.utils import instantiate
from omegaconf import OmegaConf

from tests.helpers.paths import CONF
from unlearn.protocol import Method

CONF = CONF / "method"

SMALL: dict[str, dict[str, Any]] = {
    "fine_tune": {"epochs": 3, "batch_size": 64},
    "unsir": {
        "images": 20,
        "noises": 8,
        "noise_steps": 4,
        "copies": 3,
        "batch_size": 64,
        "epochs": 2,
        "repair_epochs": 2,
    },
    "amnesiac": {"epochs": 3},
    "bad_teacher": {"epochs": 3, "batch_size": 64},
    "scrub": {"epochs": 3, "batch_size": 64, "forget_batch_size": 64},
    "ssd": {"batch_size": 64, "selection_weight": 1.1},
    "salun": {"epochs": 2, "batch_size": 64},
    "subspace": {"images": 30, "batch_size": 40},
}
SOURCES: dict[str, dict[str, Any]] = {"real": {}, "inverted": {"images": 4, "steps": 3}}


def built(name: str, source: str = "real", **changes: Any) -> Any:
    """A method on a source of images; keyword arguments replace its settings."""
    settings = _loaded(name) | SMALL[name] | changes
    settings["source"] = _loaded(f"source/{source}") | SOURCES[source]
    method: Method = instantiate(settings, _convert_="all")
    return method


def _loaded(name: str) -> dict[str, Any]:
    settings = OmegaConf.to_container(OmegaConf.load(CONF / f"{name}.yaml"))
    assert isinstance(settings, dict)
    return {str(k): v for k, v in settings.items() if k not in ("name", "defaults")}
