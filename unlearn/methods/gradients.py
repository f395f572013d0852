"""What methods that weigh parameters share: gradients of the class loss, averaged over batches."""

from __future__ import annotations

from collections.abc import Callable, Generator

import torch
from torch import Tensor, nn

from unlearn.methods.base import State
from unlearn.methods.distillation import shuffled
from unlearn.methods.labelled import class_loss
from unlearn.request import Request
from unlearn.sources.base import Examples


def averaged_gradients(
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
