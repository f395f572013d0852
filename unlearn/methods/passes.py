"""The loop that methods on labelled images share: passes over shuffled rows."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from unlearn.errors import RunError
from unlearn.hardware import Hardware
from unlearn.methods.base import State, Steps
from unlearn.methods.distillation import shuffled
from unlearn.request import Request


def passes(
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
        loss = one_pass(
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


def one_pass(
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
