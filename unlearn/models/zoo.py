"""What the model zoos share: their import, names of classes, and their own weights."""

import importlib
import inspect
from collections import Counter
from pathlib import Path
from typing import Any

from hydra.utils import get_object, instantiate
from torch import nn

from unlearn.config.schema import ModelConfig
from unlearn.errors import ConfigError
from unlearn.models.checkpoint import CheckpointFormat, load_into, own_format
from unlearn.models.network import network_arguments

PRETRAINED = "pretrained"  # as model.checkpoint: the zoo's own weights


def import_zoo(module: str, extra: str) -> Any:
    """Import a zoo's package.

    Args:
        module: The package.
        extra: The extra of this project that installs it.

    Raises:
        ConfigError: If it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        detail = f"needs {module}, which is not installed ({error}): pip install 'unlearn[{extra}]'"
        raise ConfigError("model", extra, detail) from error


def shorten_names(names: list[str]) -> list[str]:
    """Return the first of the synonyms of each class, the whole name where that is ambiguous.

    Names that are the same get the number of their class.
    """
    first = [name.split(",")[0].strip() for name in names]
    count = Counter(first)
    names = [short if count[short] == 1 else name for short, name in zip(first, names, strict=True)]
    count = Counter(names)
    return [name if count[name] == 1 else f"{name} {index}" for index, name in enumerate(names)]


def load_teacher(network: nn.Module, model: ModelConfig) -> CheckpointFormat:
    """Load the weights that `model.checkpoint` names into a network.

    Args:
        network: Built from the same section of the config; filled in place.
        model: The section. Its `checkpoint` is a file, a Hugging Face folder or name, or
            `pretrained` for a network whose function has an argument of that name.

    Raises:
        ConfigError: If the weights cannot be found, cannot be read, or do not fit.
    """
    checkpoint = model.checkpoint
    assert checkpoint is not None
    factory = get_object(model.factory)
    load_weights = getattr(importlib.import_module(factory.__module__), "load_weights", None)
    if load_weights is not None and not Path(checkpoint).expanduser().is_file():
        found: CheckpointFormat = load_weights(network, checkpoint)
        return found
    if checkpoint != PRETRAINED or Path(checkpoint).exists():
        return load_into(network, checkpoint)
    if PRETRAINED not in inspect.signature(factory).parameters:
        return load_into(network, checkpoint)  # which says that there is no such file
    values = {"_target_": model.factory, **network_arguments(model), PRETRAINED: True}
    try:
        given = instantiate(values, _convert_="all")
        network.load_state_dict(given.state_dict())
    except Exception as error:  # no network, no such weights, or another number of classes
        reason = str(error.__cause__ or error).splitlines()[0]
        detail = f"these weights could not be loaded ({reason})"
        raise ConfigError("model.checkpoint", checkpoint, detail) from error
    return own_format(network)
