"""The loops that methods share: distillation, epochs over labelled rows, averaged gradients."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR

from unlearn.data.batches import batch_sizes
from unlearn.errors import RunError
from unlearn.hardware import Hardware
from unlearn.models.members import Member, Members, each
from unlearn.protocol import Request, State, Steps
from unlearn.resume import Progress
from unlearn.synthesis.sources import Examples
from unlearn.training.losses import class_loss, row_divergence, weighted_mean


def distil(
    students: Members,
    images: Tensor,
    targets: Tensor,
    weights: Tensor,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    temperature: float,
    randoms: Sequence[torch.Generator],
    progress: Progress,
) -> Iterator[tuple[int, Tensor]]:
    """Teach students fixed targets on fixed images: Adam, cosine to zero, KL of each row.

    The students' train or eval modes are left as the caller set them.

    Args:
        students: M of them, on the device, changed in place.
        images: (M, N, C, H, W), normalised.
        targets: probabilities (M, N, K); one-hot rows give plain cross-entropy.
        weights: row weights (M, N).
        epochs: passes over the images.
        batch_size: rows a step.
        learning_rate: at the start.
        temperature: divides the students' logits.
        randoms: one a student, to order the batches.
        progress: of the caller.

    Yields:
        The epoch, from 1, and the losses (M,) of its last batch, on the device.

    Raises:
        RunError: if a loss is not finite, or no row of a student has any weight.
    """
    if epochs:
        _require_taught(weights)

    def loss_of(student: Member, images: Tensor, target: Tensor, weights: Tensor) -> Tensor:
        return weighted_mean(row_divergence(target, student(images), temperature), weights)

    losses_of = students.hardware.compile(loss_of)
    optimizer = Adam(students.parameters(), learning_rate, fused=True)
    steps = epochs * len(batch_sizes(images.shape[1], batch_size))
    schedule = CosineAnnealingLR(optimizer, steps)
    parts: dict[str, Any] = {"students": students, "optimizer": optimizer}
    parts |= {"schedule": schedule, "randoms": list(randoms)}
    for epoch in progress.steps("distil", epochs, lambda: parts):
        for rows in shuffled(images.shape[1], batch_size, randoms, images.device):
            batch = (take(values, rows) for values in (images, targets, weights))
            losses = each(losses_of, [students], *batch)
            optimizer.zero_grad()
            losses.sum().backward()
            optimizer.step()
            schedule.step()
        if not torch.isfinite(losses).all():
            raise RunError(
                f"method.learning_rate={learning_rate}: the student's loss is not finite; lower it"
            )
        yield epoch, losses.detach()


def _require_taught(weights: Tensor) -> None:
    if not weights.any(dim=1).all():
        raise RunError(
            f"filter: lets none of {weights.shape[1]} samples through; raise filter.gate or "
            "filter.entropy, or set null"
        )


def shuffled(
    count: int, batch_size: int, randoms: Sequence[torch.Generator], device: torch.device
) -> Iterator[Tensor]:
    """One epoch of row numbers (M, B), each member's in its own order; see `batch_sizes`."""
    orders = torch.stack([torch.randperm(count, generator=random) for random in randoms])
    yield from orders.to(device).split(batch_sizes(count, batch_size), dim=1)


def take(values: Tensor, rows: Tensor) -> Tensor:
    """Rows (M, B) of values (M, N, ...), each member's own: (M, B, ...)."""
    return torch.stack([member[picked] for member, picked in zip(values, rows, strict=True)])


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
        loss_of: the loss (a scalar, to be minimised) on these row numbers (B,).
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
    for (picked,) in shuffled(rows, batch_size, [random], hardware.device):
        with hardware.autocast():
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
    batches = list(shuffled(len(examples.labels), batch_size, [random], device))
    parts = {str(index): mean for index, mean in enumerate(means)}
    for step in request.progress.steps(stage, len(batches), lambda: parts):
        with request.hardware.autocast():
            loss = loss_of(batches[step - 1][0])
        gradients = torch.autograd.grad(loss, weights, materialize_grads=True)
        for mean, gradient in zip(means, gradients, strict=True):
            mean += of(gradient) / len(batches)
        yield State(stage, step, len(batches), None, {stage: loss.detach()})
    return means
