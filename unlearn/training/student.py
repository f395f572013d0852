"""The student a method starts from, and changes to its last layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unlearn.config.schema import retain_classes
from unlearn.errors import RunError
from unlearn.hardware import Hardware
from unlearn.models.copies import copy_network
from unlearn.models.network import freeze_batch_norm, readout, renew_readout, shrink_and_perturb
from unlearn.protocol import Request


def start_student(
    request: Request, *, share: float, fresh_readout: bool, frozen: bool
) -> nn.Module:
    """A student between teacher and random, on the device, in train mode.

    Args:
        request: the teacher, and how a fresh network is made.
        share: the teacher's share in the weights, 0 random, 1 the teacher.
        fresh_readout: whether the forget classes' rows of the last layer start fresh.
        frozen: whether batch norm stays at the statistics that it starts with.
    """
    fresh = request.hardware.place(request.fresh())
    student = shrink_and_perturb(request.teacher, fresh, share)
    if fresh_readout:
        renew_readout(student, fresh, request.forget, request.num_classes)
    set_training(student, frozen=frozen)
    return student


def taught_student(request: Request, *, frozen: bool = False) -> nn.Module:
    """A copy of the teacher whose weights may change, in train mode.

    Args:
        request: the teacher.
        frozen: whether batch norm stays at the teacher's statistics.
    """
    student = copy_network(request.teacher).requires_grad_(True)
    set_training(student, frozen=frozen)
    return student


def set_training(student: nn.Module, *, frozen: bool) -> None:
    """Put a student in train mode, its batch norm too unless it is to stay frozen."""
    student.train()
    if frozen:
        freeze_batch_norm(student)


def depth(logits: Tensor) -> Tensor:
    """Mean log-probability (nats) of each row's least likely class, of logits (B, K): a scalar.

    It is how far a network's training has pushed a class that an image does not show; training
    without a class pushes that class as far on every image.
    """
    return logits.log_softmax(dim=1).amin(dim=1).mean()


@torch.no_grad()
def settle_readout(
    student: nn.Module,
    teacher: nn.Module,
    images: Tensor,
    forget: tuple[int, ...],
    classes: int,
    factor: float,
    hardware: Hardware,
) -> None:
    """Shift the forget classes' logits, on average, to the teacher's depth times `factor`.

    Adds factor * depth(T) - mean (z_f - logsumexp over retain classes of z) to the bias of each
    forget class f, in place. A network whose last layer is not linear with one row a class and a
    bias is left as it is.

    Args:
        student: whose biases move; in eval mode meanwhile.
        teacher: whose `depth` on the images is aimed at.
        images: (N, C, H, W), normalised, on the device.
        forget: the classes to forget.
        classes: K.
        factor: above 0.
        hardware: precision and layout.
    """
    try:
        bias = dict(readout(student, classes).named_parameters()).get("bias")
    except RunError:
        return
    if bias is None:
        return
    modes = [module.training for module in student.modules()]
    student.eval()
    aim = factor * depth(hardware.run(teacher, images))
    logits = hardware.run(student, images)
    for module, training in zip(student.modules(), modes, strict=True):
        module.training = training
    rows = list(forget)
    others = logits[:, list(retain_classes(classes, forget))].logsumexp(1, keepdim=True)
    bias[rows] += aim - (logits[:, rows] - others).mean(dim=0)


@torch.no_grad()
def hold_down(network: nn.Module, forget: tuple[int, ...], classes: int, bias: float) -> None:
    """Make the logits of the forget classes `bias` in a network of K classes, in place.

    Raises:
        RunError: if the network has no linear layer with one row a class, or that has no bias.
    """
    last = readout(network, classes)
    if "bias" not in dict(last.named_parameters()):
        raise RunError("method=masked_logit: the last linear layer has no bias to hold down")
    last.weight[list(forget)] = 0.0
    last.bias[list(forget)] = bias
