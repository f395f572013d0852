"""GKT and EMMN at a size for unit tests: each file changes what its own tests are about."""

from __future__ import annotations

from typing import Any

from unlearn.methods.gkt import GatedKnowledgeTransfer
from unlearn.methods.noise import ErrorNoise


def small_gkt(**changes: Any) -> GatedKnowledgeTransfer:
    settings: dict[str, Any] = {
        "iterations": 4,
        "batch_size": 16,
        "student_steps": 2,
        "fresh_noise": False,
        "generator_steps": 1,
        "latent": 8,
        "generator_width": 4,
        "learning_rate": 0.003,
        "generator_learning_rate": 0.003,
        "clip": 0.5,
        "attention_weight": 250.0,
        "temperature": 1.0,
        "target": "masked",
        "postfilter_threshold": 0.01,
        "start": 0.5,
        "fresh_readout": False,
        "batch_norm": "frozen",
        "schedule": "cosine",
        "selection": "last",
    }
    return GatedKnowledgeTransfer(**{**settings, **changes})


def small_noise(**changes: Any) -> ErrorNoise:
    settings: dict[str, Any] = {
        "noises": 4,
        "noise_steps": 6,
        "noise_learning_rate": 0.1,
        "maximised": 1.0,
        "regularisation": 0.1,
        "patience": 10,
        "valid": False,
        "fresh_readout": False,
        "impair": True,
        "copies": 1,
        "batch_size": 16,
        "epochs": 1,
        "learning_rate": 0.01,
        "repair_epochs": 0,
        "repair_learning_rate": 0.001,
        "batch_norm": "frozen",
    }
    return ErrorNoise(**{**settings, **changes})
