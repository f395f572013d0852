"""The last layer's rows of the forgotten classes, brought to where long training leaves them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim import Adam

from unlearn.errors import RunError
from unlearn.hardware import Hardware
from unlearn.models.network import readout

_STRIDE = 0.01  # of the last layer's root mean square weight: about what a step of Adam moves one
_QUIET = 1e-3  # gradients well below this move nothing: rounding must not, where a row is in place


def depth(logits: Tensor) -> Tensor:
    """Mean log-probability (nats) of each row's least likely class, of logits (B, K): a scalar.

    It is how far a network's training has pushed a class that an image does not show; training
    without a class pushes that class as far on every image.
    """
    return logits.log_softmax(dim=1).amin(dim=1).mean()


def settle_readout(
    student: nn.Module,
    teacher: nn.Module,
    images: Tensor,
    forget: tuple[int, ...],
    classes: int,
    steps: int,
    hardware: Hardware,
) -> None:
    """Move the forget classes' rows of the student's last layer down towards the teacher's depth.

    Minimises mean (z_f - logsumexp over retain classes of z - depth)^2 on the images over the
    rows of the forget classes f alone, in place. A row that lies deeper on average keeps its own
    depth: nothing makes a class likelier. A network whose last layer is not linear with one
    row a class is left as it is.

    Args:
        student: whose rows move; in eval mode while its features are read.
        teacher: whose `depth` on the images is aimed at.
        images: (N, C, H, W), normalised, on the device.
        forget: the classes to forget.
        classes: K.
        steps: of Adam; few of them stop on the way.
        hardware: precision and layout.
    """
    try:
        head = readout(student, classes)
    except RunError:
        return
    rows, taken = list(forget), []
    hook = head.register_forward_pre_hook(lambda _, inputs: taken.append(inputs[0].float()))
    modes = [module.training for module in student.modules()]
    student.eval()
    with torch.no_grad(), hardware.autocast():
        aim = depth(teacher(hardware.layout(images)).float())
        logits = student(hardware.layout(images)).float()
    hook.remove()
    for module, training in zip(student.modules(), modes, strict=True):
        module.training = training
    others = logits[:, [k for k in range(classes) if k not in forget]].logsumexp(1, keepdim=True)
    moved = [parameter.detach()[rows].clone().requires_grad_() for parameter in head.parameters()]
    with torch.no_grad():
        aims = (nn.functional.linear(taken[0], *moved) - others).mean(dim=0).clamp(max=aim)
    rate = _STRIDE * float(head.weight.detach().square().mean().sqrt())
    optimizer = Adam(moved, rate, eps=_QUIET)
    for _ in range(steps):
        answers = nn.functional.linear(taken[0], *moved) - others
        loss = (answers - aims).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        for parameter, values in zip(head.parameters(), moved, strict=True):
            parameter[rows] = values
