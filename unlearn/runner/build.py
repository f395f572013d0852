"""Builds every part of a run from its config, so that errors show before any work starts."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args

import torch
from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from pydantic import ValidationError
from torch import nn

from unlearn.config.hashing import digest, select_determinants
from unlearn.config.resolve import refused
from unlearn.config.schema import DatasetConfig, RunConfig
from unlearn.data.shared import share
from unlearn.data.source import RawImages
from unlearn.data.tensors import Access, Data, prepare
from unlearn.errors import ConfigError, UnlearnError
from unlearn.evaluation.audit import Audit
from unlearn.evaluation.base import Metric, StudentMetric
from unlearn.evaluation.cache import MeasurementCache
from unlearn.filters.base import Filter
from unlearn.hardware import Hardware
from unlearn.models.network import attention_layers, builder
from unlearn.models.zoo import load_teacher
from unlearn.protocol import ChecksNetwork, Method
from unlearn.records.folder import require_space
from unlearn.runner.published import require_published
from unlearn.tracking.base import Observer

_GB = 10**9


@dataclass(frozen=True)
class Parts:
    """The parts of a run; `data` is None with `dataset=none`."""

    hardware: Hardware
    data: Data | None
    new_network: Callable[[int], nn.Module]
    method: Method
    filter: Filter
    metrics: dict[str, Metric | StudentMetric]
    audits: dict[str, Audit]
    observers: list[Observer]
    measurements: MeasurementCache


def build(config: RunConfig) -> Parts:
    """Build and check all parts.

    Args:
        config: The run.

    Raises:
        ConfigError: naming the first key that does not work with the others.
    """
    hardware = Hardware.start(config.hardware, config.dataset.shape)
    new_network = builder(config.model, config.dataset)
    network = new_network(0)
    _check_network(config, network)
    require_published(config.networks)
    tools = _tools(config, network)
    _check_space(config, network)
    data = _load(config, hardware.device)
    return Parts(hardware, data, new_network, *tools, _open_measurements(config, hardware, data))


def check(config: RunConfig) -> None:
    """Build all parts that need no data, to find errors before any data are read.

    Raises:
        ConfigError: As `build` does.
    """
    network = builder(config.model, config.dataset)(0)
    _check_network(config, network)
    _tools(config, network)


def _tools(
    config: RunConfig, network: nn.Module
) -> tuple[Method, Filter, dict[str, Metric | StudentMetric], dict[str, Audit], list[Observer]]:
    """The method, the filter, the metrics, the audits and the observers."""

    def all_of(key: str, group: dict[str, dict[str, Any]]) -> dict[str, Any]:
        return {name: _instance(f"{key}.{name}", **_split(one)) for name, one in group.items()}

    method = _method(config)
    if isinstance(method, ChecksNetwork):
        method.check_network(network)
    metrics = all_of("evaluation.metrics", config.evaluation.metrics)
    audits = all_of("evaluation.audits", config.evaluation.audits)
    observers = all_of("tracking.observers", config.tracking.observers)
    filter = _instance("filter", config.filter.factory, config.filter.arguments)
    return method, filter, metrics, audits, list(observers.values())


def _method(config: RunConfig) -> Method:
    method: Method = _instance("method", config.method.factory, config.method.arguments)
    access, allowed = getattr(method, "access", None), get_args(Access)
    if access not in allowed:
        reason = f"its access is {access}; allowed are {', '.join(allowed)}"
        raise ConfigError("method._target_", config.method.factory, reason)
    if config.dataset.factory is None and access != "none":
        raise ConfigError("dataset", "none", f"method={config.method.name} needs data ({access})")
    if access == "oracle" and config.evaluation.every is None:
        told = f"method={config.method.name} with these settings is told test accuracies"
        raise ConfigError("evaluation.every", None, f"must be given: {told}")
    return method


def _open_measurements(
    config: RunConfig, hardware: Hardware, data: Data | None
) -> MeasurementCache:
    """Open the cache of measurements of networks that runs share; without data nothing is kept."""
    if data is None:
        return MeasurementCache()
    plain = config.plain()
    about = {
        "data": data.fingerprint,
        "dataset": select_determinants(plain["dataset"]),
        "attention": plain["model"]["attention"],
        "forget": plain["forget"],
        "seeds": [config.seed, config.training.seed],
        "hardware": hardware.describe_arithmetic(),
    }
    return MeasurementCache(Path(config.outputs).absolute() / "cache" / "measured", about)


def _check_network(config: RunConfig, network: nn.Module) -> None:
    if config.model.checkpoint is not None:
        load_teacher(network, config.model)
    known = dict(network.named_modules())
    for layer in attention_layers(config.model, network, config.dataset.shape):
        if layer not in known:
            raise ConfigError("model.attention", layer, "names no layer of the network")


def _check_space(config: RunConfig, network: nn.Module) -> None:
    """Room for the student, and for the trained networks in the cache."""
    tensors = [t for t in network.state_dict().values() if isinstance(t, torch.Tensor)]
    size = sum(t.numel() * t.element_size() for t in tensors)
    run_dir = config.run_dir is not None
    key, value = ("run_dir", config.run_dir) if run_dir else ("outputs", config.outputs)
    assert value is not None
    folder = Path(value).expanduser().absolute().parent
    require_space(key, value, folder, size)
    if config.dataset.factory is not None:
        kept = 3 + config.evaluation.references  # the teacher, the retrained one, a judge
        cache = Path(config.outputs).absolute() / "cache"
        try:
            cache.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                "outputs", config.outputs, f"cannot be written ({error.strerror})"
            ) from error
        require_space("outputs", config.outputs, cache, kept * size)


def read_images(config: RunConfig) -> RawImages | None:
    """Return all images and labels of a data set as its files have them; None with `dataset=none`.

    The runs of one sweep in one process read each data set once.

    Raises:
        ConfigError: If the files cannot be read.
    """
    dataset = config.dataset
    if dataset.factory is None:
        return None
    return share(digest([dataset.factory, dataset.arguments]), partial(_read_images, config))


def _read_images(config: RunConfig) -> RawImages:
    dataset = config.dataset
    assert dataset.factory is not None
    arguments = _list_offered(config) | dataset.arguments
    raw = _instance("dataset", dataset.factory, arguments)
    if not isinstance(raw, RawImages):
        raise ConfigError(
            "dataset._target_", dataset.factory, "must return RawImages of unlearn.data.source"
        )
    return raw


def _list_offered(config: RunConfig) -> dict[str, Any]:
    """Return the cache folder and the memory limit, where the loader has arguments for them."""
    offered = {
        "cache": Path(config.outputs).absolute() / "cache",
        "memory": config.dataset.memory * _GB,
    }
    try:
        taken = inspect.signature(get_object(str(config.dataset.factory))).parameters
    except (ImportError, TypeError, ValueError):  # said when the loader is called
        return {}
    return {name: value for name, value in offered.items() if name in taken}


def _load(config: RunConfig, device: torch.device) -> Data | None:
    dataset = config.dataset
    raw = read_images(config)
    if raw is None:
        return None
    _check_images(dataset, raw, config.forget)
    data = prepare(
        raw,
        num_classes=dataset.num_classes,
        mean=dataset.mean,
        std=dataset.std,
        validation=dataset.validation,
        seed=config.training.seed,
        device=device,
        memory=dataset.memory * _GB,
    )
    drawn = sorted(set(raw.train_labels.tolist()) - set(data.train.labels.tolist()))
    if drawn:
        allowed = f"leaves no training image of class {drawn[0]}"
        raise ConfigError("dataset.validation", dataset.validation, allowed)
    return data


def _check_images(dataset: DatasetConfig, raw: RawImages, forget: tuple[int, ...]) -> None:
    shape, largest_label = raw.train_images.shape[1:], int(raw.train_labels.max())
    if tuple(shape) != dataset.shape:
        raise ConfigError("dataset.shape", list(dataset.shape), f"the images are {list(shape)}")
    if largest_label >= dataset.num_classes:
        raise ConfigError(
            "dataset.num_classes", dataset.num_classes, f"there is a label {largest_label}"
        )
    for part, labels in (("training", raw.train_labels), ("test", raw.test_labels)):
        absent = sorted(set(forget) - set(labels.tolist()))
        if absent:
            raise ConfigError(
                "forget", list(forget), f"{dataset.name} has no {part} image of class {absent[0]}"
            )


def _split(values: dict[str, Any]) -> dict[str, Any]:
    arguments = {key: value for key, value in values.items() if key != "_target_"}
    return {"factory": values.get("_target_"), "arguments": arguments}


def _instance(key: str, factory: str | None, arguments: dict[str, Any]) -> Any:
    """Build an object, and those within it, by dotted paths; say which key is at fault if not."""
    try:
        return instantiate({"_target_": factory, **arguments}, _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__ or error
        if isinstance(cause, UnlearnError):
            raise cause from error
        within = re.search(r"^full_key: ([\w.]+)$", str(error), re.MULTILINE)
        for name in within[1].split(".") if within else ():
            key, arguments = f"{key}.{name}", arguments[name]
            factory = arguments["_target_"]
        if isinstance(cause, ValidationError):
            raise refused(cause, key) from error
        surplus = re.search(r"unexpected keyword argument '(\w+)'", str(cause))
        if surplus:
            argument = surplus[1]
            raise ConfigError(
                f"{key}.{argument}", arguments.get(argument), "no such key"
            ) from error
        reason = str(cause).split("\nfull_key:")[0] or type(cause).__name__
        raise ConfigError(f"{key}._target_", factory, f"cannot be built: {reason}") from error
