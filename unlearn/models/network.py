"""Builds a network from its config, checks that it fits the data, and mixes starting weights."""

import inspect
import io
import re
from collections.abc import Callable
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from unlearn.config.schema import DatasetConfig, ModelConfig
from unlearn.errors import ConfigError, RunError, UnlearnError, first_line
from unlearn.models.attention import default_layers
from unlearn.models.copies import copy_network
from unlearn.models.logits import return_logits

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def builder(model: ModelConfig, dataset: DatasetConfig) -> Callable[[int], nn.Module]:
    """Return a function that maps a seed to a freshly initialised network.

    Networks that return tuples, dictionaries or objects with `logits` return their logits alone.
    Layers that find their sizes at the first batch (`torch.nn.LazyLinear`) have found them.

    Args:
        model: The network's class or function, and its arguments.
        dataset: The shape of the images and the number of classes.

    Raises:
        ConfigError: If the network cannot be imported or built, if it cannot be copied or saved, or
            if it does not map a batch of the data set's shape to one logit a class.
    """
    arguments = network_arguments(model)
    batch = torch.zeros(2, *dataset.shape)

    def build(seed: int) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            try:
                network = instantiate({"_target_": model.factory, **arguments}, _convert_="all")
            except InstantiationException as error:
                raise _refused(error, model.factory, arguments) from error
            if not isinstance(network, nn.Module):
                raise _unusable(model, "must build a torch.nn.Module")
            return_logits(network, dataset.num_classes)
            if any(map(is_lazy, (*network.parameters(), *network.buffers()))):
                training = network.training
                _answer(network.eval(), batch, model)
                network.train(training)
        return network

    network = build(0)
    _check_logits(_answer(network.eval(), batch, model), model, dataset)
    _check_state(network, model)
    if "checkpoint" in arguments:
        _check_fresh(network, build(1), model)
    return build


def network_arguments(model: ModelConfig) -> dict[str, Any]:
    """Return the keyword arguments of the network's class or function.

    The keys `name`, `checkpoint`, `batch_norm`, `attention` and `check` describe the network to
    this program. Each is passed on as well if it holds a value and the signature has an argument of
    that name. What the user did not choose is not passed on: `check=warn`, and a `name` that is
    `custom` or the class's own.
    """
    described = {
        "name": model.name,
        "checkpoint": model.checkpoint,
        "batch_norm": model.batch_norm,
        "attention": None if model.attention is None else list(model.attention),
        "check": None if model.check == "warn" else model.check,
    }
    if model.name in ("custom", model.factory.rpartition(".")[2]):
        del described["name"]
    try:
        signature = inspect.signature(get_object(model.factory)).parameters
    except Exception:  # what cannot be imported is reported when it is built
        return dict(model.arguments)
    taken = {
        key: value
        for key, value in described.items()
        if value is not None and key in signature and signature[key].kind in _BY_NAME
    }
    return taken | model.arguments


def attention_layers(
    model: ModelConfig, network: nn.Module, shape: tuple[int, int, int]
) -> tuple[str, ...]:
    """Return the layers whose attention is compared: those of the config, else convolutions.

    Args:
        model: The section of the config.
        network: Not changed.
        shape: (channels, height, width) of an image.
    """
    if model.attention is None:
        return default_layers(network, shape)
    return tuple(model.attention)


def has_batch_norm(network: nn.Module) -> bool:
    """Return whether any layer keeps running statistics of images."""
    return bool(batch_norms(network))


def batch_norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    """Return the batch-norm layers of images, in order of definition."""
    return [m for m in network.modules() if isinstance(m, nn.BatchNorm2d) and m.track_running_stats]


def freeze_batch_norm(network: nn.Module) -> None:
    """Put batch-norm layers in eval mode: they use and keep their running statistics."""
    for module in network.modules():
        if isinstance(module, _BATCH_NORMS):
            module.eval()


def shrink_and_perturb(teacher: nn.Module, fresh: nn.Module, share: float) -> nn.Module:
    """Start a student between teacher and random: share * teacher + (1 - share) * fresh.

    After Ash & Adams, "On Warm-Starting Neural Network Training", 2020. Buffers (batch-norm
    statistics) are the teacher's as soon as `share` is above 0.

    Args:
        teacher: Trained network.
        fresh: Freshly initialised network of the same architecture.
        share: Share of the teacher, from 0 (random) to 1 (the teacher).
    """
    student = copy_network(teacher if share > 0 else fresh)
    with torch.no_grad():
        for weight, taught, new in zip(
            student.parameters(), teacher.parameters(), fresh.parameters(), strict=True
        ):
            weight.copy_(share * taught + (1 - share) * new)
            weight.requires_grad_(True)
    return student


def renew_readout(
    student: nn.Module, fresh: nn.Module, forget: tuple[int, ...], classes: int
) -> None:
    """Give the forget classes' rows of the last linear layer their fresh values, in place.

    With masked targets alone, the rows keep their direction and the class is relearned at once. A
    network whose last layer is not linear with one row a class stays unchanged.
    """
    try:
        taught, new = readout(student, classes), readout(fresh, classes)
    except RunError:
        return
    with torch.no_grad():
        for (_, weight), (_, replacement) in zip(
            taught.named_parameters(), new.named_parameters(), strict=True
        ):
            weight[list(forget)] = replacement[list(forget)]


def readout(network: nn.Module, classes: int) -> nn.Linear:
    """Return the last linear layer with one row a class.

    Raises:
        RunError: If there is none.
    """
    found = [
        module
        for module in network.modules()
        if isinstance(module, nn.Linear) and module.out_features == classes
    ]
    if not found:
        raise RunError(f"{type(network).__name__} has no linear layer with one row a class")
    return found[-1]


def _unusable(model: ModelConfig, detail: str) -> ConfigError:
    return ConfigError("model._target_", model.factory, detail)


def _answer(network: nn.Module, batch: Tensor, model: ModelConfig) -> Any:
    """Return what the network answers to a batch."""
    try:
        with torch.no_grad():
            return network(batch)
    except Exception as error:  # whatever the user's own `forward` raises
        shape = list(batch.shape[1:])
        detail = f"cannot take images of shape {shape} ({first_line(error)})"
        raise _unusable(model, detail) from error


def _check_logits(logits: Any, model: ModelConfig, dataset: DatasetConfig) -> None:
    if not isinstance(logits, Tensor) or logits.shape != (2, dataset.num_classes):
        found = list(logits.shape[1:]) if isinstance(logits, Tensor) else type(logits)
        wanted = f"{dataset.num_classes} logits an image, one a class"
        raise _unusable(model, f"must return {wanted}; it returned {found}")


def _check_state(network: nn.Module, model: ModelConfig) -> None:
    """Check that the network can be copied, and that its state can be written and read again.

    Raises:
        ConfigError: Naming the entry of the state dict that cannot.
    """
    try:
        copy_network(network)
    except Exception as error:  # whatever the attributes of a user's network raise
        detail = f"cannot be copied with copy.deepcopy ({first_line(error)})"
        raise _unusable(model, detail) from error
    for name, value in network.state_dict().items():
        if isinstance(value, Tensor):
            continue
        buffer = io.BytesIO()
        try:
            torch.save(value, buffer)
            torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)
        except Exception as error:  # of pickling whatever a layer keeps
            detail = (
                f"{name} of its state dict is of type {type(value).__name__}, which "
                "torch.load(weights_only=True) does not read; allowed are plain values and tensors"
            )
            raise _unusable(model, detail) from error


def _check_fresh(first: nn.Module, second: nn.Module, model: ModelConfig) -> None:
    """Check that a network whose own argument is `checkpoint` is random without its weights.

    Raises:
        ConfigError: If networks of two seeds are the same: the network loads the file itself, so
            that no network could be retrained and no student could start anew.
    """
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    if all(torch.equal(one, other) for one, other in pairs):
        detail = (
            f"{model.factory} loads it itself, so that every new network holds the teacher's "
            "weights; write a function that builds the network without them"
        )
        raise ConfigError("model.checkpoint", model.checkpoint, detail)


def _refused(error: Exception, factory: str, arguments: dict[str, Any]) -> UnlearnError:
    cause = error.__cause__ or error
    if isinstance(cause, UnlearnError):
        return cause
    surplus = re.search(r"unexpected keyword argument '(\w+)'", str(cause))
    if surplus:
        key = surplus[1]
        return ConfigError(f"model.{key}", arguments.get(key), "no such key")
    words = ", ".join(f"{key}={value}" for key, value in arguments.items())
    reason = f"cannot be built with {words}: {str(cause) or type(cause).__name__}"
    return ConfigError("model._target_", factory, reason)
