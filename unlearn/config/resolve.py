"""Turns Hydra's composed config into a checked one. Needs no torch."""

import math
from collections.abc import Mapping
from typing import Any

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from unlearn.config.class_names import find_names, number_classes
from unlearn.config.schema import RunConfig
from unlearn.errors import ConfigError

_PLAIN = {
    "missing": "must be given",
    "tuple_type": "should be a list, as in [0,1]",
    "too_short": "should hold one or more",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "must hold none of / \\ # ? % :",
}


def resolve_config(composed: DictConfig, overrides: list[str]) -> RunConfig:
    """Resolve Hydra's composed config (`resolve_values`) and check it (`check_values`)."""
    return check_values(resolve_values(composed, overrides))


def resolve_values(composed: DictConfig, overrides: list[str]) -> dict[str, Any]:
    """Return Hydra's composed config as plain values, with the settings of `as_published` applied.

    Args:
        composed: Config as Hydra composed it.
        overrides: Overrides that the user typed. They win over the settings of
            `method.as_published`, and only typed arguments reach the user's own network or method.

    Raises:
        ConfigError: If a key must be given, or refers to nothing.
    """
    typed = {override.lstrip("+~").split("=")[0] for override in overrides}
    config = composed.copy()
    OmegaConf.set_struct(config, False)
    try:
        _use_own_network(config, typed)
        _use_own(config, "method", typed)
        _use_zoo(config)
        _use_presets(config, typed)
        values = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        key = error.full_key or "config"
        if "Missing mandatory value" in str(error):
            raise ConfigError(key, "???", "must be given") from error
        raise ConfigError(key, "???", str(error).splitlines()[0]) from error
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def check_values(values: Mapping[str, Any]) -> RunConfig:
    """Check plain values and return the config.

    Raises:
        ConfigError: Names the first key that cannot be used, its value and what is allowed.
    """
    names = _find_names(values)
    values = {**values, "forget": number_classes(values.get("forget"), names)}
    values["dataset"] = _repeat_levels(values.get("dataset"))
    try:
        run = RunConfig.model_validate(values)
    except ValidationError as error:
        raise refused(error) from error
    _check_dataset(run)
    _check_names(run, names)
    _check_forget(run)
    _check_filter(run)
    _check_method(run)
    _check_audits(run)
    forget, dataset = tuple(sorted(run.forget)), run.dataset.with_names(names)
    return run.model_copy(update={"forget": forget, "dataset": dataset})


def _find_names(values: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return the names of the classes; None if they are not known, or not here and not needed."""
    dataset, forget = values.get("dataset"), values.get("forget")
    try:
        return find_names(dataset) if isinstance(dataset, Mapping) else None
    except ConfigError:
        typed = forget if isinstance(forget, list | tuple) else [forget]
        if any(isinstance(c, str) for c in typed):
            raise
        return None  # the data may be on another machine; loading them reports what is wrong


def _use_own_network(config: DictConfig, typed: set[str]) -> None:
    """Drop the chosen YAML's other keys if `model._target_` was typed."""
    if _use_own(config, "model", typed):
        for key in ("checkpoint", "batch_norm", "attention"):
            config.model.setdefault(key, None)


def _use_zoo(config: DictConfig) -> None:
    """Fill in what the data set leaves open from what a model zoo knows of its network.

    The key `model.describe` of a zoo's YAML names the function that knows. It is called, and the
    zoo imported, only if the shape, the number of classes, the mean or the std is not given.
    """
    describe = config.model.pop("describe", None)
    given = [key for key in config.model if not OmegaConf.is_missing(config.model, key)]
    open_keys = [
        key
        for key in ("shape", "num_classes", "mean", "std")
        if OmegaConf.is_missing(config.dataset, key)
    ]
    if describe is None or not open_keys or not {"architecture", "path"} & set(given):
        return
    own = {key: config.model[key] for key in ("architecture", "path") if key in given}
    found = get_object(describe)(**own)
    channels = len(found.get("mean", ())) or None
    for key in open_keys:
        if key in ("mean", "std") and channels != config.dataset.shape[0]:
            continue
        if key in found:
            OmegaConf.update(config, f"dataset.{key}", found[key])
    names = found.get("classes")
    if config.dataset.classes is None and names and len(names) == config.dataset.num_classes:
        config.dataset.classes = names


def _use_own(config: DictConfig, group: str, typed: set[str]) -> bool:
    """Keep only the typed keys of a group whose `_target_` was typed and whose YAML was not."""
    if f"{group}._target_" not in typed or group in typed:
        return False
    values = config[group]
    for key in list(values):
        if not any(
            word == f"{group}.{key}" or word.startswith(f"{group}.{key}.") for word in typed
        ):
            del values[key]
    values.setdefault("name", values._target_.rsplit(".", 1)[-1])
    return True


def _use_presets(config: DictConfig, typed: set[str]) -> None:
    """Apply a method's `published` and `quick` settings to keys that the user did not type.

    `published` is used with `method.as_published=true`, `quick` with `experiment=[X,quick]`.
    """
    published = config.method.pop("published", None) or {}
    quick = config.method.pop("quick", None) or {}
    patches = []
    if config.method.get("as_published"):
        patches += [published.get("all"), published.get(config.dataset.name)]
    if config.pop("quick", False):
        patches.append({"method": quick})
    for patch in patches:
        for group, values in (patch or {}).items():
            for key, value in values.items():
                if f"{group}.{key}" not in typed:
                    OmegaConf.update(config, f"{group}.{key}", value)


def refused(error: ValidationError, *within: str) -> ConfigError:
    """Return an error for the first value that does not fit; `within` is its section's path."""
    detail = error.errors()[0]
    place = [*within, *detail["loc"]]
    kind = str(place[-1])  # for a union, pydantic appends the type that it tried
    if kind == "bool" or kind.startswith("literal["):
        *place, _ = place
        tried = [d["msg"] for d in error.errors() if d["loc"][:-1] == detail["loc"][:-1]]
        said = " or ".join(m.removeprefix("Input should be ").partition(",")[0] for m in tried)
        detail |= {"msg": f"should be {said}"}
    key = ".".join(map(str, place))
    if detail["type"] == "model_type":
        choice = "/".join(map(str, place))
        message = f"is a config group: select an option with {choice}=NAME"
        return ConfigError(key, detail["input"], message)
    if detail["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return ConfigError(key, detail["input"], "no such key")
    said = detail["msg"].removeprefix("Input ").removeprefix("Value error, ")
    message = _PLAIN.get(detail["type"], said)
    value = None if detail["type"] == "missing" else detail["input"]
    return ConfigError(key, value, message[0].lower() + message[1:])


def _check_dataset(run: RunConfig) -> None:
    dataset = run.dataset
    for key in ("mean", "std"):
        values = getattr(dataset, key)
        if len(values) != dataset.shape[0]:
            raise ConfigError(
                f"dataset.{key}",
                list(values),
                f"must hold {dataset.shape[0]} values, one a channel, or one for all channels",
            )
    if dataset.classes is not None and len(dataset.classes) != dataset.num_classes:
        raise ConfigError(
            "dataset.classes", list(dataset.classes), f"must name {dataset.num_classes} classes"
        )
    most = min(dataset.shape[1:]) - 1  # a reflection is smaller than what it reflects
    crop = run.training.augment.crop
    if crop > most:
        raise ConfigError("training.augment.crop", crop, f"must be {most} or less")
    if dataset.factory is None and run.model.checkpoint is None:
        raise ConfigError(
            "model.checkpoint",
            None,
            "must be given with dataset=none: there is nothing to train on",
        )


def _repeat_levels(dataset: Any) -> Any:
    """Return the data set with one mean and one std a channel, where one was given for all."""
    shape = dataset.get("shape") if isinstance(dataset, Mapping) else None
    channels = shape[0] if isinstance(shape, list | tuple) and shape else 1
    if not isinstance(channels, int):
        return dataset
    levels = {key: dataset.get(key) for key in ("mean", "std")}
    single = {k: v for k, v in levels.items() if isinstance(v, list | tuple) and len(v) == 1}
    return {**dataset, **{key: [*value] * channels for key, value in single.items()}}


def _check_names(run: RunConfig, names: tuple[str, ...] | None) -> None:
    count = run.dataset.num_classes
    if run.dataset.classes is None and names is not None and len(names) != count:
        found = f"{run.dataset.root} holds {len(names)} class folders"
        raise ConfigError("dataset.num_classes", count, f"{found}; the two must agree")


def _check_forget(run: RunConfig) -> None:
    count = run.dataset.num_classes
    allowed = f"allowed are one or more of the classes 0 to {count - 1} of {run.dataset.name}"
    shown = list(run.forget)
    if not run.forget:
        raise ConfigError("forget", shown, f"names no class; {allowed}")
    if len(set(run.forget)) < len(run.forget):
        raise ConfigError("forget", shown, f"names a class twice; {allowed}")
    if max(run.forget) >= count:
        raise ConfigError("forget", shown, allowed)
    if len(run.forget) == count:
        raise ConfigError("forget", shown, f"would forget every class; {allowed}, but not all")


def _check_filter(run: RunConfig) -> None:
    for key in ("gate", "entropy"):
        if getattr(run.filter, key) is not None and run.method.source is not None:
            raise ConfigError(
                f"filter.{key}",
                getattr(run.filter, key),
                f"method={run.method.name} filters no image of its source; allowed is null",
            )
    definition, threshold = run.filter.entropy_definition, run.filter.entropy
    if threshold is None:
        return
    most = {
        "all": math.log(run.dataset.num_classes),
        "retain": math.log(max(2, len(run.retain))),
        "normalised": 1.0,
        "quantile": 1.0,
    }[definition]
    if threshold > most:
        raise ConfigError(
            "filter.entropy",
            threshold,
            f"allowed is above 0 up to {most:.4g} with entropy_definition={definition}, or null",
        )


def _check_method(run: RunConfig) -> None:
    method = run.method
    if method.source is None and "source" in method.model_fields_set:
        raise ConfigError("method.source", None, "must be given, as by method/source=real")


def _check_audits(run: RunConfig) -> None:
    evaluation = run.evaluation
    if evaluation.audits and evaluation.references < 2 and run.dataset.factory is not None:
        raise ConfigError(
            "evaluation.references",
            evaluation.references,
            "audits compare with further retrained networks; allowed is 2 or more",
        )
