"""Supervised training of the teacher and of the retrained reference."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR

from unlearn.config.schema import TrainingConfig
from unlearn.data.batches import batch_sizes
from unlearn.data.tensors import Split
from unlearn.errors import RunError
from unlearn.hardware import Hardware
from unlearn.optimizers import SGD, AdamW
from unlearn.resume import Progress
from unlearn.training.augmentation import augment
from unlearn.training.muon import Muon


def train(
    network: nn.Module,
    data: Split,
    settings: TrainingConfig,
    hardware: Hardware,
    progress: Progress,
    *,
    replay: bool = True,
) -> Iterator[tuple[int, float]]:
    """Train a network with cross-entropy under a one-cycle schedule, in place.

    Args:
        network: on the device; it is in eval mode at the end of each epoch.
        data: the training rows.
        settings: optimiser, rates, epochs, augmentation, and the seed of all draws.
        hardware: device, precision and memory format.
        progress: where the loop stands, for a training that goes on after a cut.
        replay: whether the epochs done before the cut are yielded again, first. The network is
            already past them.

    Yields:
        The epoch, from 1, and its mean loss in nats.

    Raises:
        RunError: if the loss is not finite.
    """
    random = torch.Generator().manual_seed(settings.seed)
    loss_of = hardware.compile(_loss)
    optimizer = _optimizer(network, settings)
    steps = settings.epochs * len(batch_sizes(len(data), settings.batch_size))
    schedule = _schedule(optimizer, settings, steps)
    losses = list[float]()
    parts: dict[str, Any] = {"network": network, "optimizer": optimizer, "schedule": schedule}
    parts |= {"order": random, "losses": losses}
    for epoch in progress.steps("epoch", settings.epochs, lambda: parts):
        if replay:
            yield from enumerate(losses, start=1)
        replay = False
        network.train()
        total = torch.zeros((), device=hardware.device)
        for images, labels in data.batches(settings.batch_size, random):
            images = augment(images, random, settings.augment)
            loss = loss_of(network, images, labels, settings.label_smoothing, hardware)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.detach() * len(labels)
        mean = total.item() / len(data)
        if not math.isfinite(mean):
            raise RunError(
                f"training.learning_rate={settings.learning_rate}: the loss became {mean} in "
                f"epoch {epoch}; lower it"
            )
        network.eval()
        losses.append(mean)
        yield epoch, mean


def _schedule(optimizer: Optimizer, settings: TrainingConfig, steps: int) -> OneCycleLR:
    """One cycle; Muon's is linear, which left ResNet-20 a point better on validation rows."""
    peaks = [group["lr"] for group in optimizer.param_groups]
    muon = settings.optimizer == "muon"
    return OneCycleLR(
        optimizer,
        peaks,
        total_steps=steps,
        pct_start=0.2,
        anneal_strategy="linear" if muon else "cos",
        cycle_momentum=not muon,
    )


def _loss(
    network: nn.Module, images: Tensor, labels: Tensor, smoothing: float, hardware: Hardware
) -> Tensor:
    return F.cross_entropy(hardware.run(network, images), labels, label_smoothing=smoothing)


def _optimizer(network: nn.Module, settings: TrainingConfig) -> Optimizer:
    weights, rate, decay = network.parameters(), settings.learning_rate, settings.weight_decay
    if settings.optimizer == "muon":
        return Muon(network, rate, weight_decay=decay)
    if settings.optimizer == "adamw":
        return AdamW(weights, rate, weight_decay=decay, fused=True)
    return SGD(weights, rate, momentum=0.9, nesterov=True, weight_decay=decay, fused=True)
