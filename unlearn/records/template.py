"""The record of a run that has not begun: every key of the public contract, and the versions."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from unlearn.config.schema import RunConfig

_PACKAGES = ("unlearn", "torch", "torchvision", "hydra-core", "numpy", "scikit-learn", "wandb")
_PROXIES = (
    *("retain", "forget", "soft_retain", "soft_forget"),
    *("score", "likelihood", "margin"),
)
_STAGES = ("teacher", "retrained", "references", "judge", "unlearn", "evaluation", "total")
_MODELS = ("original", "retrained", "unlearned")


def new_record(
    config: RunConfig, identity: str, command: Sequence[str] | None = None
) -> dict[str, Any]:
    """A record with every key of the public contract; a figure not (yet) computed is None.

    Args:
        config: of the run.
        identity: its hash.
        command: what is typed after `unlearn` to do this run, None if it was not typed.
    """
    return {
        "status": "unfinished",
        "config_hash": identity,
        "dataset": config.dataset.name,
        "model": config.model.name,
        "method": config.method.name,
        "access": None,
        "oracle": config.allow_oracle,
        "forget": list(config.forget),
        "forget_names": [config.dataset.class_names[c] for c in config.forget],
        "seed": config.seed,
        "command": None if command is None else list(command),
        "config": config.plain(),
        **_figures(),
        **_costs(),
        "resumed": 0,
        "versions": versions(),
        "error": None,
    }


def _figures() -> dict[str, Any]:
    """What metrics, audits and alarms say of the networks."""
    both = {"retain": None, "forget": None}
    floor = {"penultimate": None, "excess": None}
    counted = ("target", "retrained_steps", "unlearned_steps", "ain", "resolution", "censored")
    return {
        "accuracy": {
            **{name: {"train": dict(both), "test": dict(both)} for name in _MODELS},
            "references": [],
        },
        "relearn": dict.fromkeys(counted),
        "probe": {
            **dict.fromkeys(("layers", *_MODELS, "random", "penultimate", "excess")),
            "references": [],
            "floor": floor,
        },
        "membership": {
            **{name: {"auc": None} for name in _MODELS},
            "references": [],
            "gap": None,
            "floor": None,
        },
        "divergence": {**both, "floor": dict(both)},
        "proxy": dict.fromkeys(_PROXIES),
        "onset": dict.fromkeys(("step", "area", "largest", "final")),
        "selection": {
            "last": dict(both),
            "proxy": {"step": None, **both},
            "oracle": {"step": None, **both},
            "spearman": {**both, "score": None},
        },
        "figures": {},
        "audits": {},
        "audit_curves": {},
        "audits_inside": None,
        "alarms": [],
    }


def _costs() -> dict[str, Any]:
    """What the run took: time, real data and memory."""
    return {
        "seconds": dict.fromkeys(_STAGES) | {"audits": {}},
        "ledger": dict.fromkeys(("images", "labels", "images_per_class", "told")),
        "peak_memory": dict.fromkeys(("resident", "added", "cuda")),
    }


def versions() -> dict[str, str | None]:
    """Versions of Python, of the packages that decide figures, and the git revision if any."""
    found: dict[str, str | None] = {"python": sys.version.split()[0]}
    return found | {name: version(name) for name in _PACKAGES} | {"git": _git_revision()}


def _git_revision() -> str | None:
    """The revision of the clone that this code lies in, read without starting git."""
    git = Path(__file__).resolve().parents[2] / ".git"
    try:
        head = (git / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head
        name = head.removeprefix("ref: ")
        loose = git / name
        if loose.exists():
            return loose.read_text().strip()
        packed = (git / "packed-refs").read_text().splitlines()
        return next((line.split()[0] for line in packed if line.endswith(name)), None)
    except OSError:
        return None
