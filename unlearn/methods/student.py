"""The student that a method starts from."""

from __future__ import annotations

import copy

from torch import nn

from unlearn.models.network import freeze_batch_norm, renew_readout, shrink_and_perturb
from unlearn.request import Request


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
    student = copy.deepcopy(request.teacher).requires_grad_(True)
    set_training(student, frozen=frozen)
    return student


def set_training(student: nn.Module, *, frozen: bool) -> None:
    """Put a student in train mode, its batch norm too unless it is to stay frozen."""
    student.train()
    if frozen:
        freeze_batch_norm(student)
