"""The student that a method starts from, and changes to its last layer."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from unlearn.config.schema import retain_classes
from unlearn.errors import RunError
from unlearn.hardware import Hardware
from unlearn.models.copies import copy_network
from unlearn.models.network import freeze_batch_norm, readout, renew_readout, shrink_and_perturb
from unlearn.protocol import Request

BatchNorm = Literal["train", "frozen"]  # frozen: at the statistics that the student starts with


def start_student(
    request: Request, *, share: float, fresh_readout: bool, frozen: bool
) -> nn.Module:
    """Make a student between teacher and random weights, on the device, in train mode.

    Args:
        request: The teacher, and how a fresh network is made.
        share: Share of the teacher in the weights, from 0 (random) to 1 (the teacher).
        fresh_readout: Whether the forget classes' rows of the last layer start fresh.
        frozen: Whether batch norm stays at the statistics that it starts with.
    """
    fresh = request.hardware.place(request.fresh())
    student = shrink_and_perturb(request.teacher, fresh, share)
    if fresh_readout:
        renew_readout(student, fresh, request.forget, request.num_classes)
    set_training(student, frozen=frozen)
    return student


def copy_teacher(request: Request, batch_norm: BatchNorm = "train") -> nn.Module:
    """Copy the teacher, with weights that may change, in train mode.

    Args:
        request: The teacher.
        batch_norm: `frozen`: batch norm stays at the teacher's statistics.
    """
    student = copy_network(request.teacher).requires_grad_(True)
    set_training(student, frozen=batch_norm == "frozen")
    return student


def set_training(student: nn.Module, *, frozen: bool) -> None:
    """Put a student in train mode, its batch norm too unless it is to stay frozen."""
    student.train()
    if frozen:
        freeze_batch_norm(student)


def absent_class_level(logits: Tensor) -> Tensor:
    """Mean log-probability of each row's least likely class, of logits (B, K): a scalar, nats.

    It tells how far training pushes down a class that an image does not show. A network trained
    without a class pushes that class as far down on every image.
    """
    return logits.log_softmax(dim=1).amin(dim=1).mean()


@torch.no_grad()
def set_forget_level(
    student: nn.Module,
    teacher: nn.Module,
    images: Tensor,
    forget: tuple[int, ...],
    classes: int,
    factor: float,
    hardware: Hardware,
) -> None:
    """Shift the forget classes' logits to a multiple of the teacher's level of absent classes.

    Adds factor * level(T) - mean(z_f - logsumexp over retain classes of z) to the last layer's
    bias of each forget class f, in place. A network whose last layer is not linear with one row a
    class, or has no bias, is left as it is.

    Args:
        student: Network whose biases change; its train or eval modes stay.
        teacher: Network whose `absent_class_level` on the images is the unit, in eval mode.
        images: (N, C, H, W), normalised, on the device.
        forget: Classes to forget.
        classes: Number of classes K.
        factor: Multiple of the teacher's level, above 0.
        hardware: Precision and memory format.
    """
    try:
        bias = dict(readout(student, classes).named_parameters()).get("bias")
    except RunError:
        return
    if bias is None:
        return
    modes = [module.training for module in student.modules()]
    student.eval()
    wanted = factor * absent_class_level(hardware.run(teacher, images))
    logits = hardware.run(student, images)
    for module, training in zip(student.modules(), modes, strict=True):
        module.training = training
    rows = list(forget)
    others = logits[:, list(retain_classes(classes, forget))].logsumexp(1, keepdim=True)
    bias[rows] += wanted - (logits[:, rows] - others).mean(dim=0)


@torch.no_grad()
def mask_logits(network: nn.Module, forget: tuple[int, ...], classes: int, logit: float) -> None:
    """Make the logits of the forget classes constant, in place.

    Args:
        network: Network of K classes.
        forget: Classes to forget.
        classes: Number of classes K.
        logit: Their logit on every image.

    Raises:
        RunError: If the network has no linear layer with one row a class, or that has no bias.
    """
    last = readout(network, classes)
    if "bias" not in dict(last.named_parameters()):
        raise RunError("method=masked_logit: the last linear layer has no bias to set")
    last.weight[list(forget)] = 0.0
    last.bias[list(forget)] = logit


@torch.no_grad()
def centre_rows(network: nn.Module, classes: int) -> None:
    """Subtract the mean of the rows of the last linear layer, in place; so too of its biases.

    All logits of an image move by the same amount, so that no probability changes.

    Raises:
        RunError: If the network has no linear layer with one row a class.
    """
    for _, tensor in readout(network, classes).named_parameters():
        tensor.sub_(tensor.mean(dim=0))


@torch.no_grad()
def make_projection(network: nn.Module, forget: tuple[int, ...], classes: int) -> Tensor:
    """Project features onto the complement of the forget classes' rows of the last layer.

    P = I - V^+ V with the rows V (F, D) of the forget classes; I - w w^T / |w|^2 for one row w
    ("POUR", CVPR 2026).

    Args:
        network: Network with a linear layer of one row a class.
        forget: Classes to forget.
        classes: Number of classes K.

    Returns:
        P, (D, D), float64, symmetric.

    Raises:
        RunError: If the network has no linear layer with one row a class.
    """
    rows = readout(network, classes).weight[list(forget)].double()
    identity = torch.eye(rows.shape[1], dtype=rows.dtype, device=rows.device)
    projection: Tensor = identity - torch.linalg.pinv(rows) @ rows
    return projection
