"""The loops that methods share: distillation, epochs over rows, averaged gradients."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR

from unlearn.data.batches import batch_sizes
from unlearn.errors import RunError
from unlearn.hardware import Hardware
from unlearn.optimizers import Adam
from unlearn.protocol import Request, State, Steps
from unlearn.synthesis.sources import Examples
from unlearn.training.losses import make_class_loss, row_divergence, weighted_mean


def distil(
    student: nn.Module,
    images: Tensor,
    targets: Tensor,
    weights: Tensor,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    request: Request,
    random: torch.Generator,
    temperature: float = 1.0,
) -> Iterator[tuple[int, Tensor]]:
    """Teach a student fixed targets: minimise KL(target || student) with Adam, cosine to zero.

    The student's train or eval mode stays as the caller set it.

    Args:
        student: On the device; its weights change in place.
        images: (N, C, H, W), normalised, or other inputs of the student (N, ...).
        targets: Probabilities (N, K); one-hot rows give plain cross-entropy.
        weights: Row weights (N,), at least 0.
        epochs: Passes over the rows, at least 0.
        batch_size: Rows of a step, at least 1.
        learning_rate: Learning rate of the first step, above 0.
        request: Hardware and progress.
        random: Orders the rows.
        temperature: Divides the student's logits, above 0.

    Yields:
        The epoch, from 1, and the loss of its last batch, a scalar on the device.

    Raises:
        RunError: If the loss is not finite, or no row has any weight.
    """
    hardware = request.hardware
    if epochs:
        _require_rows(weights)

    def loss_of(images: Tensor, target: Tensor, weights: Tensor) -> Tensor:
        rows = row_divergence(target, hardware.run(student, images), temperature)
        return weighted_mean(rows, weights)

    compiled = hardware.compile(loss_of)
    optimizer = Adam(student.parameters(), learning_rate, fused=True)
    schedule = CosineAnnealingLR(optimizer, epochs * len(batch_sizes(len(images), batch_size)))
    parts: dict[str, Any] = {"student": student, "optimizer": optimizer}
    parts |= {"schedule": schedule, "random": random}
    for epoch in request.progress.steps("distil", epochs, lambda: parts):
        for rows in shuffle(len(images), batch_size, random, images.device):
            loss = compiled(images[rows], targets[rows], weights[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        if not torch.isfinite(loss):
            raise RunError(
                f"method.learning_rate={learning_rate}: the student's loss is not finite; lower it"
            )
        yield epoch, loss.detach()


def _require_rows(weights: Tensor) -> None:
    if not weights.any():
        raise RunError(
            f"filter: lets none of {len(weights)} samples through; raise filter.gate or "
            "filter.entropy, or set null"
        )


def shuffle(
    count: int, batch_size: int, random: torch.Generator, device: torch.device
) -> Iterator[Tensor]:
    """Yield the row numbers (B,) of one epoch in random order, cut as `batch_sizes` says."""
    order = torch.randperm(count, generator=random).to(device)
    yield from order.split(batch_sizes(count, batch_size))


class Pass(NamedTuple):
    """One pass over some rows, with a step of the optimiser on each batch.

    Args:
        name: Name of its loss in the history.
        loss_of: Gives the loss, a scalar, on row numbers (B,).
        rows: Number of rows.
        batch_size: Rows of a step, at least 1.
    """

    name: str
    loss_of: Callable[[Tensor], Tensor]
    rows: int
    batch_size: int


def run_epochs(
    stage: str,
    student: nn.Module,
    optimizer: Optimizer,
    passes: Callable[[int], Iterable[Pass]],
    *,
    epochs: int,
    request: Request,
    random: torch.Generator,
    adjust: Callable[[], None] | None = None,
) -> Steps:
    """Minimise losses for some epochs; yield the state after each.

    The student's train or eval mode stays as the caller set it.

    Args:
        stage: Name of the stage, unique within the method.
        student: Network that changes in place.
        optimizer: Optimiser of the student's parameters.
        passes: Gives the passes of an epoch, which counts from 1. They follow one another.
        epochs: Number of epochs, at least 0.
        request: Hardware and progress.
        random: Orders the rows.
        adjust: Called between the gradients and the optimiser's step.

    Raises:
        RunError: If a loss is not finite.
    """
    parts = {"student": student, "optimizer": optimizer, "random": random}
    for epoch in request.progress.steps(stage, epochs, lambda: parts):
        losses = {
            one.name: _run_pass(one, optimizer, request.hardware, random, adjust)
            for one in passes(epoch)
        }
        yield State(stage, epoch, epochs, student, losses)


def _run_pass(
    one: Pass,
    optimizer: Optimizer,
    hardware: Hardware,
    random: torch.Generator,
    adjust: Callable[[], None] | None,
) -> Tensor:
    """Step through all rows of a pass; return the last batch's loss, on the device."""
    for picked in shuffle(one.rows, one.batch_size, random, hardware.device):
        loss = one.loss_of(picked)
        optimizer.zero_grad()
        loss.backward()
        if adjust is not None:
            adjust()
        optimizer.step()
    if not torch.isfinite(loss):
        rate = optimizer.param_groups[0]["lr"]
        raise RunError(f"the loss of {one.name} is not finite at learning rate {rate:g}; lower it")
    return loss.detach()


def average_gradients(
    stage: str,
    network: nn.Module,
    examples: Examples,
    function: Callable[[Tensor], Tensor],
    *,
    batch_size: int,
    request: Request,
    random: torch.Generator,
) -> Generator[State, object, list[Tensor]]:
    """Average a function of the gradients over batches; yield the state after each batch.

    Args:
        stage: Name of the stage and of its loss, unique within the method.
        network: Network whose gradients are taken. It does not change, and neither does its mode.
        examples: Rows of the cross-entropy.
        function: Elementwise function of each parameter's gradient of a batch's mean loss.
        batch_size: Rows of a batch; the last may be smaller.
        request: Hardware and progress.
        random: Draws the batches.

    Returns:
        One tensor a parameter, in their order and shapes.
    """
    loss_of = make_class_loss(network, examples, request.hardware)
    weights = list(network.parameters())
    means = [torch.zeros_like(weight) for weight in weights]
    device = request.hardware.device
    batches = list(shuffle(len(examples.labels), batch_size, random, device))
    parts = {str(index): mean for index, mean in enumerate(means)}
    for step in request.progress.steps(stage, len(batches), lambda: parts):
        loss = loss_of(batches[step - 1])
        gradients = torch.autograd.grad(loss, weights, materialize_grads=True)
        for mean, gradient in zip(means, gradients, strict=True):
            mean += function(gradient) / len(batches)
        yield State(stage, step, len(batches), None, {stage: loss.detach()})
    return means
