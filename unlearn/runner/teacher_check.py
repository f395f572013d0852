"""Checks before the work whether the user's teacher looks trained, and fed as in training."""

from __future__ import annotations

import math
from contextlib import ExitStack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlearn.config.schema import DatasetConfig, RunConfig
from unlearn.data.tensors import Data
from unlearn.errors import ConfigError, say
from unlearn.hardware import Hardware
from unlearn.models.copies import copy_network
from unlearn.models.network import batch_norms
from unlearn.models.outputs import compute_logits
from unlearn.optimizers import Adam

_ROWS = 512  # test images whose answers are looked at
_ABOVE_CHANCE = 10.0  # points that a trained teacher's accuracy is above chance, at the least
_GAIN = 5.0  # points that another normalisation must bring to be suggested
_UNIFORM = 0.97  # of log K: entropy of answers above which no class is preferred
_RECOGNISED = 0.5  # mean probability of the class that an image was inverted for
_CLASSES = 10  # classes to invert an image for
_STEPS, _LEARNING_RATE = 20, 0.1  # of the inversion
# Limits of log2(variance on noise / variance in training) of the first batch norm.
_LOWEST, _HIGHEST = -2.0, 4.0
_NOISES, _PIXEL_MEAN, _PIXEL_STD = 16, 0.45, 0.25  # noise images, and their pixels in [0, 1]
_COLOUR = 0.3  # standard deviation of a channel relative to the grey that all share
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
    image make it sure of any class. The answers of an untrained one are nearly uniform. A wrong
    scale of the inputs shows in the first batch norm.
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
    signs = _check_statistics(dataset, teacher, device)
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


def _check_statistics(
    dataset: DatasetConfig, teacher: nn.Module, device: torch.device
) -> list[str]:
    """Compare the first batch norm's variance on noise with the one that training has left there.

    The noise has the spectrum of photographs, 1 / f (Field, 1987), and is normalised as declared.
    A wrong scale of the inputs shows in the variance behind the first convolution. Networks without
    batch norm are not checked.
    """
    ratios: list[Tensor] = []

    def compare(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        known = module.running_var
        assert isinstance(known, Tensor)
        if not ratios:
            ratios.append((inputs[0].float().var((0, 2, 3)) / known.clamp_min(1e-12)).log2())

    noise = _draw_noise(_NOISES, dataset.shape).to(device)
    with ExitStack() as hooks, torch.no_grad():
        for layer in batch_norms(teacher):
            hooks.callback(layer.register_forward_pre_hook(compare).remove)
        teacher((noise - _levels(dataset.mean, noise)) / _levels(dataset.std, noise))
    if not ratios or _LOWEST <= (found := ratios[0].median().item()) <= _HIGHEST:
        return []
    return [
        f"its first batch norm has seen {2**-found:.2g} times the variance that images normalised "
        "as declared have: dataset.mean and dataset.std are not those of its training"
    ]


def _draw_noise(count: int, shape: tuple[int, int, int]) -> Tensor:
    """Return images (N, C, H, W) in [0, 1] whose amplitude falls with 1 / frequency."""
    channels, height, width = shape
    random = torch.Generator().manual_seed(0)
    vertical, horizontal = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None]
    frequency = (vertical**2 + horizontal**2).sqrt().clamp_min(1 / max(height, width))

    def draw(channels: int) -> Tensor:
        white = torch.randn(count, channels, height, width, generator=random)
        drawn: Tensor = torch.fft.irfft2(torch.fft.rfft2(white) / frequency, s=(height, width))
        return drawn

    grey, colours = draw(1), draw(channels)
    noise = grey / grey.std() + _COLOUR * colours / colours.std()
    return (noise / noise.std() * _PIXEL_STD + _PIXEL_MEAN).clamp(0, 1)


def _answer(network: nn.Module, images: Tensor, hardware: Hardware) -> Tensor:
    """Return the probabilities (N, K) of images."""
    with hardware.autocast():
        logits: Tensor = network(hardware.layout(images))
    return logits.float().softmax(1)
