"""Supervised training of the teacher and of the retrained reference."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import OneCycleLR

from unlearn.config import TrainingConfig
from unlearn.data.tensors import Split
from unlearn.errors import RunError
from unlearn.hardware import Hardware


def train(
    network: nn.Module, data: Split, settings: TrainingConfig, hardware: Hardware
) -> Iterator[tuple[int, float]]:
    """Train with cross-entropy under a one-cycle schedule, in place.

    Args:
        network: on the device; left in eval mode at the end of each epoch.
        data: the training rows.
        settings: optimiser, rates, epochs; its seed orders the batches.
        hardware: precision.

    Yields:
        The epoch, from 1, and its mean loss in nats.

    Raises:
        RunError: if the loss is not finite.
    """
    order = torch.Generator().manual_seed(settings.seed)
    optimizer = _optimizer(network, settings)
    batches = math.ceil(len(data) / settings.batch_size)
    schedule = OneCycleLR(
        optimizer, settings.learning_rate, total_steps=settings.epochs * batches, pct_start=0.2
    )
    for epoch in range(1, settings.epochs + 1):
        network.train()
        total = torch.zeros((), device=hardware.device)
        for images, labels in data.batches(settings.batch_size, order):
            with hardware.autocast():
                logits = network(hardware.layout(images))
            loss = F.cross_entropy(logits.float(), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.detach() * len(labels)
        mean = float(total) / len(data)
        if not math.isfinite(mean):
            raise RunError(
                f"training.learning_rate={settings.learning_rate}: the loss became {mean} in epoch "
                f"{epoch}; lower it"
            )
        network.eval()
        yield epoch, mean


def _optimizer(network: nn.Module, settings: TrainingConfig) -> Optimizer:
    if settings.optimizer == "adamw":
        return AdamW(
            network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
    return SGD(
        network.parameters(),
        settings.learning_rate,
        momentum=0.9,
        nesterov=True,
        weight_decay=settings.weight_decay,
    )
