"""Checks before the work whether the user's teacher looks trained, and fed as in training."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlearn.config.schema import DatasetConfig, RunConfig
from unlearn.data.tensors import Data
from unlearn.errors import ConfigError, say
from unlearn.hardware import Hardware
from unlearn.models.copies import copy_network
from unlearn.models.outputs import compute_logits
from unlearn.optimizers import Adam

_ROWS = 512  # test images whose answers are looked at
_ABOVE_CHANCE = 10.0  # points that a trained teacher's accuracy is above chance, at the least
_GAIN = 5.0  # points that another normalisation must bring to be suggested
_UNIFORM = 0.97  # of log K: entropy of answers above which no class is preferred
_RECOGNISED = 0.5  # mean probability of the class that an image was inverted for
_CLASSES = 10  # classes to invert an image for
_STEPS, _LEARNING_RATE = 20, 0.1  # of the inversion
_OTHERS = {
    "pixels in [0, 1]": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "pixels in [-1, 1]": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "ImageNet's": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "CIFAR-10's": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
}


def check_teacher(
    config: RunConfig, teacher: nn.Module, data: Data | None, hardware: Hardware
) -> list[str]:
    """Return what makes the user's teacher hard to believe, one line for each sign.

    Args:
        config: `model.check` decides: `warn` says each line, `error` refuses the run, `off` does
            not look.
        teacher: In eval mode, on the device; not changed.
        data: The data set, None without one.
        hardware: Precision and memory format.

    Raises:
        ConfigError: If there is a sign and `model.check` is `error`.
    """
    if config.model.check == "off":
        return []
    if data is not None:
        signs = _check_accuracy(config.dataset, teacher, data, hardware)
    else:
        signs = _check_answers(config.dataset, teacher, hardware)
    for sign in signs:
        if config.model.check == "error":
            raise ConfigError("model.checkpoint", config.model.checkpoint, sign)
        say(f"model.checkpoint={config.model.checkpoint}: {sign}")
    return [f"teacher: {sign}" for sign in signs]


def _check_accuracy(
    dataset: DatasetConfig, teacher: nn.Module, data: Data, hardware: Hardware
) -> list[str]:
    """Compare the accuracy on test images with chance, and with other normalisations."""
    rows = data.test.at(torch.arange(min(_ROWS, len(data.test)), device=hardware.device))
    images, labels = rows.images, rows.labels

    def measure(batch: Tensor) -> float:
        correct = compute_logits(teacher, batch, hardware).argmax(1) == labels
        return 100 * correct.double().mean().item()

    found = measure(images)
    signs = []
    if found < 100 / dataset.num_classes + _ABOVE_CHANCE:
        signs.append(f"it answers {found:.1f}% of {len(labels)} test images rightly, near chance")
    mean, std = _levels(dataset.mean, images), _levels(dataset.std, images)
    pixels = images * std + mean
    gains = {
        name: measure((pixels - _levels(means, images)) / _levels(stds, images))
        for name, (means, stds) in _OTHERS.items()
        if images.shape[1] == len(means)
    }
    best = max(gains, key=lambda name: gains[name], default=None)
    if best is not None and gains[best] > found + _GAIN:
        signs.append(
            f"it answers {found:.1f}% of {len(labels)} test images rightly, and {gains[best]:.1f}% "
            f"with another normalisation ({best}): check dataset.mean and dataset.std"
        )
    return signs


def _levels(values: tuple[float, ...], images: Tensor) -> Tensor:
    return torch.tensor(values, device=images.device).view(-1, 1, 1)


def _check_answers(dataset: DatasetConfig, teacher: nn.Module, hardware: Hardware) -> list[str]:
    """Ask for images without data: whether classes differ, and whether they can be inverted.

    A trained network prefers some class on most images, and a few steps of gradient descent on an
    image make it sure of any class. The answers of an untrained one are nearly uniform.
    """
    count, device = min(dataset.num_classes, _CLASSES), hardware.device
    classes = torch.arange(count, device=device)
    lowest, highest = (
        (level - _levels(dataset.mean, classes)) / _levels(dataset.std, classes)
        for level in (0.0, 1.0)
    )
    channels, height, width = dataset.shape
    coarse = torch.rand(
        (count, channels, max(2, height // 4), max(2, width // 4)),
        generator=torch.Generator().manual_seed(0),
    )
    images = F.interpolate(coarse, (height, width), mode="bilinear").to(device)
    images = (images * (highest - lowest) + lowest).requires_grad_(True)
    network = copy_network(teacher).requires_grad_(False).eval()
    start = _answer(network, images, hardware).detach()
    entropy = -(start * start.clamp_min(1e-12).log()).sum(1).mean().item()
    signs = []
    if entropy > _UNIFORM * math.log(dataset.num_classes):
        signs.append("it gives every class nearly the same probability, as if it were untrained")
    optimizer = Adam([images], _LEARNING_RATE)
    for _ in range(_STEPS):
        optimizer.zero_grad()
        probabilities = _answer(network, images, hardware)
        F.nll_loss(probabilities.clamp_min(1e-12).log(), classes).backward()
        optimizer.step()
        with torch.no_grad():
            images.clamp_(lowest, highest)
    with torch.no_grad():
        sure = _answer(network, images, hardware)[classes, classes].mean().item()
    if sure < _RECOGNISED:
        signs.append(
            f"it recognises images inverted from it with a probability of {sure:.2f}: untrained, "
            "or dataset.mean and dataset.std are not those of its training"
        )
    return signs


def _answer(network: nn.Module, images: Tensor, hardware: Hardware) -> Tensor:
    """Return the probabilities (N, K) of images."""
    with hardware.autocast():
        logits: Tensor = network(hardware.layout(images))
    return logits.float().softmax(1)
