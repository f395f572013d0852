"""The last layer's rows of the forgotten classes, brought to where long training leaves them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unlearn.errors import RunError
from unlearn.hardware import Hardware
from unlearn.models.network import readout


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
    with hardware.autocast():
        aim = factor * depth(teacher(hardware.layout(images)).float())
        logits = student(hardware.layout(images)).float()
    for module, training in zip(student.modules(), modes, strict=True):
        module.training = training
    rows = list(forget)
    others = logits[:, [k for k in range(classes) if k not in forget]].logsumexp(1, keepdim=True)
    bias[rows] += aim - (logits[:, rows] - others).mean(dim=0)
