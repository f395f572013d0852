"""Supervised training of the teacher and of the retrained reference."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from unlearn.config.schema import TrainingConfig
from unlearn.data.batches import batch_sizes
from unlearn.data.tensors import Split
from unlearn.errors import RunError
from unlearn.hardware import Hardware
from unlearn.models.members import Member, Members, each
from unlearn.resume import Progress


def train(
    networks: Sequence[nn.Module],
    data: Sequence[Split],
    settings: Sequence[TrainingConfig],
    hardware: Hardware,
    progress: Progress,
    *,
    replay: bool = True,
) -> Iterator[tuple[int, list[float]]]:
    """Train with cross-entropy under a one-cycle schedule, in place.

    Args:
        networks: M of one architecture, on the device; left in eval mode at the end of each epoch.
        data: the training rows of each, equally many.
        settings: optimiser, rates, epochs of each, which differ in the seed that orders the
            batches alone.
        hardware: precision, and whether the networks are stacked into one computation.
        progress: of the caller.
        replay: whether epochs done before the training was cut off are yielded again, first;
            the networks are already past them.

    Yields:
        The epoch, from 1, and each network's mean loss in nats.

    Raises:
        RunError: if a loss is not finite.
    """
    setting = settings[0]
    orders = [torch.Generator().manual_seed(s.seed) for s in settings]
    for network in networks:
        network.train()
    members = Members(networks, hardware, stacked=hardware.stacks)
    losses_of = hardware.compile(_loss)
    optimizer = _optimizer(members, setting)
    count = len(data[0])
    steps = setting.epochs * len(batch_sizes(count, setting.batch_size))
    schedule = OneCycleLR(optimizer, setting.learning_rate, total_steps=steps, pct_start=0.2)
    told = list[list[float]]()
    parts: dict[str, Any] = {"networks": members, "optimizer": optimizer, "schedule": schedule}
    parts |= {"orders": orders, "told": told}
    for epoch in progress.steps("epoch", setting.epochs, lambda: parts):
        if replay:
            yield from enumerate(told, start=1)
        replay = False
        for network in networks:
            network.train()
        totals = torch.zeros(len(networks), device=hardware.device)
        for images, labels in _batches(data, setting.batch_size, orders):
            losses = each(losses_of, [members], images, labels)
            _step(losses, optimizer, schedule)
            totals += losses.detach() * labels.shape[1]
        means = [total / count for total in totals.tolist()]
        if not all(map(math.isfinite, means)):
            raise RunError(
                f"training.learning_rate={setting.learning_rate}: the loss became {means[0]} in "
                f"epoch {epoch}; lower it"
            )
        for network in members.unstacked():
            network.eval()
        told.append(means)
        yield epoch, means


def _step(losses: Tensor, optimizer: Optimizer, schedule: LRScheduler) -> None:
    optimizer.zero_grad()
    losses.sum().backward()
    optimizer.step()
    schedule.step()


def _batches(
    data: Sequence[Split], size: int, orders: Sequence[torch.Generator]
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of images (M, B, ...) and labels (M, B), each member's in its own order."""
    epochs = (rows.batches(size, order) for rows, order in zip(data, orders, strict=True))
    for batches in zip(*epochs, strict=True):
        images, labels = map(_stack, zip(*batches, strict=True))
        yield images, labels


def _loss(network: Member, images: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(network(images), labels)


def _stack(parts: Sequence[Tensor]) -> Tensor:
    return parts[0].unsqueeze(0) if len(parts) == 1 else torch.stack(list(parts))


def _optimizer(members: Members, settings: TrainingConfig) -> Optimizer:
    weights, rate, decay = members.parameters(), settings.learning_rate, settings.weight_decay
    if settings.optimizer == "adamw":
        return AdamW(weights, rate, weight_decay=decay, fused=True)
    return SGD(weights, rate, momentum=0.9, nesterov=True, weight_decay=decay, fused=True)
