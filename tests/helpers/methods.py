"""Methods from their own YAML at a size for unit tests; a test changes what it is about."""

from collections.abc import Generator
from typing import Any, TypeVar

from hydra.utils import get_class
from omegaconf import OmegaConf

from tests.helpers.paths import CONF
from tests.helpers.tiny import TinyNet
from unlearn.data.tensors import Data
from unlearn.protocol import Request, State

Result = TypeVar("Result")
_ADVERSARIAL = {"batch_size": 16, "student_steps": 2, "latent": 8, "generator_width": 4}
_RATES = {"learning_rate": 0.01, "generator_learning_rate": 0.01}
ON_FORGET_IMAGES: dict[str, dict[str, Any]] = {
    "boundary_expand": {"batch_size": 50},
    "boundary_shrink": {"batch_size": 50},
    "delete": {"batch_size": 50},
    "gradient_ascent": {"batch_size": 50},
    "jit": {"batch_size": 50, "copies": 2},
    "pour_d": {"batch_size": 50},
    "random_labels": {"batch_size": 50},
}
ON_OTHER_IMAGES: dict[str, dict[str, Any]] = {
    "amnesiac": {"epochs": 3},
    "bad_teacher": {"epochs": 3, "batch_size": 64},
    "cf_k": {"epochs": 3},
    "eu_k": {"epochs": 3},
    "fine_tune": {"epochs": 3, "batch_size": 64},
    "l1_sparse": {"epochs": 3, "batch_size": 64},
    "modhifi": {"removed": 0.5},
    "neggrad_plus": {"epochs": 3},
    "salun": {"epochs": 2, "batch_size": 64},
    "scrub": {"epochs": 3, "batch_size": 64, "forget_batch_size": 64},
    "ssd": {"batch_size": 64, "selection_weight": 1.1},
    "subspace": {"images": 30, "batch_size": 40},
    "unsir": {
        "images": 20,
        "noises": 8,
        "noise_steps": 4,
        "copies": 3,
        "batch_size": 64,
        "epochs": 2,
        "repair_epochs": 2,
    },
}
WITHOUT_IMAGES: dict[str, dict[str, Any]] = {
    "embeddings": {"embeddings": 300, "epochs": 40, "batch_size": 50, "learning_rate": 0.03},
    "gkt": _ADVERSARIAL
    | {
        "iterations": 4,
        "fresh_noise": False,
        "learning_rate": 0.003,
        "generator_learning_rate": 0.003,
        "clip": 0.5,
        "start": 0.5,
        "fresh_readout": False,
    },
    "head_only": {
        "images": 6,
        "inversion_steps": 10,
        "epochs": 60,
        "batch_size": 12,
        "learning_rate": 0.05,
    },
    "inversion": {
        "images": 6,
        "inversion_batch": 10,
        "inversion_steps": 4,
        "warmup": 1,
        "fresh_readout": False,
        "epochs": 2,
        "batch_size": 8,
        "learning_rate": 0.01,
    },
    "ispf": _ADVERSARIAL
    | _RATES
    | {
        "iterations": 3,
        "batch_norm_prior": 0.5,
        "confidence_weight": 0.7,
        "balance_weight": 0.3,
        "start": 0.9,
        "batch_norm": "frozen",
    },
    "masked_logit": {},
    "noise": {
        "noises": 4,
        "noise_steps": 6,
        "maximised": 1.0,
        "valid": False,
        "fresh_readout": False,
        "impair": True,
        "copies": 1,
        "batch_size": 16,
        "repair_epochs": 0,
        "repair_learning_rate": 0.001,
    },
    "pour_p": {},
    "regrow": _ADVERSARIAL
    | _RATES
    | {"pool": 3, "inversion_steps": 4, "iterations": 3, "gate": None, "depth": 1.0},
    "regrow_upper": {
        "source": "inverted",
        "cut": "first",
        "views": 2,
        "augment": {"crop": 1, "flip": True},
        "cells": (2, 3),
        "iterations": 3,
        "student_steps": 2,
        "batch_size": 16,
        "gate": None,
    },
}
_SMALL = ON_FORGET_IMAGES | ON_OTHER_IMAGES | WITHOUT_IMAGES
_SMALL_SOURCES: dict[str, dict[str, Any]] = {"real": {}, "inverted": {"images": 4, "steps": 3}}


def build(name: str, source: str = "real", **changes: Any) -> Any:
    """Build a method on a source of images; keyword arguments replace its settings."""
    settings = _load(name) | _SMALL[name] | changes
    source = settings.get("source", source)
    if name in ON_FORGET_IMAGES | ON_OTHER_IMAGES or "source" in _SMALL[name]:
        settings["source"] = _make(_load(f"source/{source}") | _SMALL_SOURCES[source])
    return _make(settings)


def _make(settings: dict[str, Any]) -> Any:
    return get_class(settings.pop("_target_"))(**settings)


def _load(name: str) -> dict[str, Any]:
    settings = OmegaConf.to_container(OmegaConf.load(CONF / "method" / f"{name}.yaml"))
    unused = ("name", "defaults", "as_published", "published", "quick")
    return {str(key): value for key, value in settings.items() if key not in unused}


def run(method: Any, request: Request, data: Data | None = None) -> list[State]:
    """Run a method to its end, on the rows of some data that it may read; its states."""
    access = method.access
    view = data.view(access, request.forget) if data and access != "oracle" else None
    return list(method.unlearn(request, view))


def drain(steps: Generator[State, object, Result]) -> tuple[list[State], Result]:
    """The states of a generator, and what it returns."""
    states = []
    while True:
        try:
            states.append(next(steps))
        except StopIteration as end:
            return states, end.value


def student_of(states: list[State]) -> TinyNet:
    """The last student, in eval mode."""
    student = states[-1].student
    return student.eval()
