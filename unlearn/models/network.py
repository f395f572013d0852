"""Builds a network from its config, checks that it fits the data, and mixes starting weights."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from torch import nn

from unlearn.config.schema import DatasetConfig, ModelConfig
from unlearn.errors import ConfigError, RunError, UnlearnError
from unlearn.models.attention import default_layers

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def builder(model: ModelConfig, dataset: DatasetConfig) -> Callable[[int], nn.Module]:
    """A function that maps a seed to a freshly initialised network.

    Raises:
        ConfigError: if the network cannot be imported or built, or does not map a batch of the
            data set's shape to one logit a class.
    """

    def build(seed: int) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            try:
                network = instantiate({"_target_": model.factory, **model.arguments})
            except InstantiationException as error:
                raise _refused(error, model) from error
        if not isinstance(network, nn.Module):
            raise ConfigError("model._target_", model.factory, "must build a torch.nn.Module")
        return network

    _check_logits(build(0), model, dataset)
    return build


def attention_layers(model: ModelConfig, network: nn.Module) -> tuple[str, ...]:
    """The layers whose attention is compared: as named in the config, else convolutions."""
    if model.attention is None:
        return default_layers(network)
    return tuple(model.attention)


def has_batch_norm(network: nn.Module) -> bool:
    """Whether any layer keeps running statistics of images."""
    return bool(batch_norms(network))


def batch_norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    """The batch-norm layers of images, in order of definition."""
    return [m for m in network.modules() if isinstance(m, nn.BatchNorm2d) and m.track_running_stats]


def freeze_batch_norm(network: nn.Module) -> None:
    """Put batch-norm layers in eval mode: they normalise by, and keep, their running statistics."""
    for module in network.modules():
        if isinstance(module, _BATCH_NORMS):
            module.eval()


def shrink_and_perturb(teacher: nn.Module, fresh: nn.Module, share: float) -> nn.Module:
    """Start a student between teacher and random: share * teacher + (1 - share) * fresh.

    After Ash & Adams, "On Warm-Starting Neural Network Training", 2020. Buffers (batch-norm
    statistics) are the teacher's as soon as `share` is above 0.

    Args:
        teacher: a trained network.
        fresh: a freshly initialised network of the same architecture.
        share: the teacher's share in [0, 1]; 0 is random, 1 is the teacher.
    """
    student = copy.deepcopy(teacher if share > 0 else fresh)
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

    Masking alone leaves the direction that reads a class out of the features just below the
    others, from where it is relearned at once. A network whose last layer is not linear with one
    row a class is left as it is.
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
    """The last linear layer with one row a class.

    Raises:
        RunError: if there is none.
    """
    found = [
        module
        for module in network.modules()
        if isinstance(module, nn.Linear) and module.out_features == classes
    ]
    if not found:
        raise RunError(f"{type(network).__name__} has no linear layer with one row a class")
    return found[-1]


def _check_logits(network: nn.Module, model: ModelConfig, dataset: DatasetConfig) -> None:
    batch = torch.zeros(2, *dataset.shape)
    try:
        with torch.no_grad():
            logits = network.eval()(batch)
    except Exception as error:  # whatever the user's own `forward` raises
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(
            "model._target_",
            model.factory,
            f"cannot take images of shape {list(dataset.shape)} ({reason})",
        ) from error
    if not isinstance(logits, torch.Tensor) or logits.shape != (2, dataset.num_classes):
        found = list(logits.shape[1:]) if isinstance(logits, torch.Tensor) else type(logits)
        raise ConfigError(
            "model._target_",
            model.factory,
            f"must return {dataset.num_classes} logits an image, one a class; it returned {found}",
        )


def _refused(error: Exception, model: ModelConfig) -> UnlearnError:
    cause = error.__cause__ or error
    if isinstance(cause, UnlearnError):
        return cause
    surplus = re.search(r"unexpected keyword argument '(\w+)'", str(cause))
    if surplus:
        key = surplus[1]
        return ConfigError(f"model.{key}", model.arguments.get(key), "no such key")
    words = ", ".join(f"{key}={value}" for key, value in model.arguments.items())
    reason = f"cannot be built with {words}: {str(cause) or type(cause).__name__}"
    return ConfigError("model._target_", model.factory, reason)
