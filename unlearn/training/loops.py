"""The loops that methods share: distillation, epochs over labelled rows, averaged gradients."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR

from unlearn.data.batches import batch_sizes
from unlearn.errors import RunError
from unlearn.hardware import Hardware
from unlearn.protocol import Request, State, Steps
from unlearn.resume import Progress
from unlearn.synthesis.sources import Examples
from unlearn.training.losses import class_loss, row_divergence, weighted_mean


def distil(
    student: nn.Module,
    images: Tensor,
    targets: Tensor,
    weights: Tensor,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    temperature: float,
    hardware: Hardware,
    random: torch.Generator,
    progress: Progress,
) -> Iterator[tuple[int, Tensor]]:
    """Teach a student fixed targets on fixed inputs: KL(target || student), Adam, cosine to zero.

    The student's train or eval mode is left as the caller set it.

    Args:
        student: on the device; its weights change in place.
        images: (N, C, H, W), normalised, or other inputs of the student (N, ...).
        targets: probabilities (N, K); one-hot rows give plain cross-entropy.
        weights: row weights (N,), at least 0.
        epochs: passes over the images.
        batch_size: rows of a step.
        learning_rate: of the first step, above 0.
        temperature: divides the student's logits, above 0.
        hardware: precision and memory format.
        random: orders the batches.
        progress: where the loop stands.

    Yields:
        The epoch, from 1, and the loss of its last batch, a scalar on the device.

    Raises:
        RunError: if the loss is not finite, or no row has any weight.
    """
    if epochs and not weights.any():
        raise RunError(
            f"filter: lets none of {len(weights)} samples through; raise filter.gate or "
            "filter.entropy, or set null"
        )

    def loss_of(images: Tensor, target: Tensor, weights: Tensor) -> Tensor:
        rows = row_divergence(target, hardware.run(student, images), temperature)
        return weighted_mean(rows, weights)

    compiled = hardware.compile(loss_of)
    optimizer = Adam(student.parameters(), learning_rate, fused=True)
    schedule = CosineAnnealingLR(optimizer, epochs * len(batch_sizes(len(images), batch_size)))
    parts: dict[str, Any] = {"student": student, "optimizer": optimizer}
    parts |= {"schedule": schedule, "random": random}
    for epoch in progress.steps("distil", epochs, lambda: parts):
        for rows in shuffled(len(images), batch_size, random, images.device):
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


def shuffled(
    count: int, batch_size: int, random: torch.Generator, device: torch.device
) -> Iterator[Tensor]:
    """One epoch of row numbers (B,) in random order; see `batch_sizes`."""
    order = torch.randperm(count, generator=random).to(device)
    yield from order.split(batch_sizes(count, batch_size))


def run_epochs(
    stage: str,
    student: nn.Module,
    optimizer: Optimizer,
    loss_of: Callable[[Tensor], Tensor],
    *,
    rows: int,
    batch_size: int,
    epochs: int,
    request: Request,
    random: torch.Generator,
    adjust: Callable[[], None] | None = None,
) -> Steps:
    """Yield the state after each epoch of `optimizer` on `loss_of`.

    The student's train or eval mode is left as the caller set it.

    Args:
        stage: name of the loop, unique within the method.
        student: changed in place.
        optimizer: over its parameters.
        loss_of: gives the loss to minimise, a scalar, on these row numbers (B,).
        rows: how many there are.
        batch_size: rows a step.
        epochs: passes over all rows.
        request: hardware and progress.
        random: orders the rows.
        adjust: called between the gradients and the optimiser's step.

    Raises:
        RunError: if the loss is not finite.
    """
    parts = {"student": student, "optimizer": optimizer, "random": random}
    for epoch in request.progress.steps(stage, epochs, lambda: parts):
        loss = run_epoch(
            stage,
            optimizer,
            loss_of,
            rows=rows,
            batch_size=batch_size,
            hardware=request.hardware,
            random=random,
            adjust=adjust,
        )
        yield State(stage, epoch, epochs, student, {stage: loss})


def run_epoch(
    name: str,
    optimizer: Optimizer,
    loss_of: Callable[[Tensor], Tensor],
    *,
    rows: int,
    batch_size: int,
    hardware: Hardware,
    random: torch.Generator,
    adjust: Callable[[], None] | None = None,
) -> Tensor:
    """Step `optimizer` through all rows once; the last batch's loss, on the device.

    Args: those of `passes`; `name` is what an error calls the loss.

    Raises:
        RunError: if the loss is not finite.
    """
    for picked in shuffled(rows, batch_size, random, hardware.device):
        loss = loss_of(picked)
        optimizer.zero_grad()
        loss.backward()
        if adjust is not None:
            adjust()
        optimizer.step()
    if not torch.isfinite(loss):
        rate = optimizer.param_groups[0]["lr"]
        raise RunError(f"the loss of {name} is not finite at learning rate {rate:g}; lower it")
    return loss.detach()


def average_gradients(
    stage: str,
    network: nn.Module,
    examples: Examples,
    of: Callable[[Tensor], Tensor],
    *,
    batch_size: int,
    request: Request,
    random: torch.Generator,
) -> Generator[State, object, list[Tensor]]:
    """Yield the state after each batch; return the mean over batches of a function of gradients.

    Args:
        stage: name of the loop, unique within the method.
        network: whose parameters; it stays as it is, its mode too.
        examples: rows of the class loss.
        of: of each parameter's gradient (of the batch's mean loss), elementwise.
        batch_size: rows a batch; the last may be smaller.
        request: hardware and progress.
        random: draws the batches.

    Returns:
        One tensor a parameter, in their order and shapes.
    """
    loss_of = class_loss(network, examples, request.hardware)
    weights = list(network.parameters())
    means = [torch.zeros_like(weight) for weight in weights]
    device = request.hardware.device
    batches = list(shuffled(len(examples.labels), batch_size, random, device))
    parts = {str(index): mean for index, mean in enumerate(means)}
    for step in request.progress.steps(stage, len(batches), lambda: parts):
        loss = loss_of(batches[step - 1])
        gradients = torch.autograd.grad(loss, weights, materialize_grads=True)
        for mean, gradient in zip(means, gradients, strict=True):
            mean += of(gradient) / len(batches)
        yield State(stage, step, len(batches), None, {stage: loss.detach()})
    return means
