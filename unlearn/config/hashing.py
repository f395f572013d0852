"""The hash of a run: what determines its figures. Needs no torch."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from unlearn.config.schema import RunConfig

# Keys that do not change a run's figures; all others are hashed.
_NOT_HASHED = {
    "outputs",
    "networks",
    "run_dir",
    "force",
    "design",
    "launch",
    "objective",
    "tracking",
    "checkpoint_every",
}
_DATASET_NOT_HASHED = {"memory", "list_classes"}
# Keys that came later, and the values that leave a run as it was: these values are not hashed.
_LATER = {"augment": {"crop": 0, "flip": False}, "label_smoothing": 0}
# What `auto` is hashed as, so that a run has one hash on all machines of a cluster, as it has on
# GPU and CPU. The record says what was chosen, and trained networks are cached by it.
_AUTO = {"autocast": None, "channels_last": False}
# Import paths that have changed, with the path that hashes were first computed with: moving a
# file must not change the hash of a run.
_FIRST_PATHS = {
    "unlearn.synthesis.sources.Real": "unlearn.sources.real.Real",
    "unlearn.synthesis.sources.Inverted": "unlearn.sources.inverted.Inverted",
    "unlearn.evaluation.accuracy.AccuracyAudit": "unlearn.audits.accuracy.Accuracy",
    "unlearn.evaluation.cka.Alignment": "unlearn.audits.cka.Alignment",
    "unlearn.evaluation.divergence.DivergenceAudit": "unlearn.audits.divergence.Divergence",
    "unlearn.evaluation.inversion.InversionAudit": "unlearn.audits.inversion.Inversion",
    "unlearn.evaluation.membership.LikelihoodRatio": "unlearn.audits.lira.LikelihoodRatio",
    "unlearn.evaluation.membership.NeighbourMembership": (
        "unlearn.audits.mia_nn.NeighbourMembership"
    ),
    "unlearn.evaluation.probe.BlockProbe": "unlearn.audits.probe.BlockProbe",
    "unlearn.evaluation.recovery.Recovery": "unlearn.audits.recovery.Recovery",
    "unlearn.evaluation.relearn.RelearnCurves": "unlearn.audits.relearn.RelearnCurves",
}


def config_hash(config: RunConfig, checkpoint_digest: str | None) -> str:
    """Hash everything that determines a run's figures, to sixteen hex digits.

    Args:
        config: Config of the run.
        checkpoint_digest: Digest of the user's checkpoint; it replaces the checkpoint's path.
    """
    values = {k: v for k, v in config.plain().items() if k not in _NOT_HASHED}
    values["model"]["checkpoint"] = checkpoint_digest
    values["model"].pop("check", None)  # checking the teacher changes no figure
    values["dataset"] = select_determinants(values["dataset"])
    values["evaluation"].pop("pictures", None)  # pictures change no figure
    values["hardware"] = {
        k: _AUTO[k] if k in _AUTO and v == "auto" else v for k, v in values["hardware"].items()
    }
    values |= {part: drop_neutral(values[part]) for part in ("training", "method")}
    return digest(_with_first_paths(values))


def select_determinants(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a data set that decide a run's figures."""
    return {key: value for key, value in dataset.items() if key not in _DATASET_NOT_HASHED}


def drop_neutral(section: Mapping[str, Any]) -> dict[str, Any]:
    """Return a section without the later keys whose values leave a run as it was before them."""
    return {k: v for k, v in section.items() if k not in _LATER or v != _LATER[k]}


def _with_first_paths(values: Any) -> Any:
    """Return the values with every `_target_` under its first import path."""
    if isinstance(values, dict):
        return {key: _with_first_paths(value) for key, value in values.items()}
    return _FIRST_PATHS.get(values, values) if isinstance(values, str) else values


def digest(values: Any) -> str:
    """Hash a JSON-like value to sixteen hex digits; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
