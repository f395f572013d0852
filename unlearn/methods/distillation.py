"""Teaching a student by the teacher's answers: targets without the forget classes, and losses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR

from unlearn.data.batches import batch_sizes
from unlearn.errors import RunError
from unlearn.hardware import Hardware
from unlearn.models.members import Member, Members, each
from unlearn.resume import Progress

Target = Literal["raw", "masked", "postfilter"]


def target_probabilities(
    logits: Tensor,
    forget: Tensor,
    target: Target,
    temperature: float = 1.0,
    postfilter_threshold: float = 0.01,
) -> Tensor:
    """What the student is taught to answer.

    Args:
        logits: of the teacher, (B, K).
        forget: bool (K,), true at the classes to forget.
        target: `raw`: the teacher's softmax. `masked`: renormalised over the retain classes,
            exactly 0 at the forget classes. `postfilter`: where a forget class holds more than
            `postfilter_threshold` of the mass, its logit drops to the row's minimum and the
            difference is shared out over the retain logits (ISPF, AAAI 2025, and its code).
        temperature: divides the logits.
        postfilter_threshold: in [0, 1].

    Returns:
        (B, K), rows sum to 1.
    """
    if target == "masked":
        logits = logits.masked_fill(forget, -torch.inf)
    elif target == "postfilter":
        logits = _postfilter(logits, forget, postfilter_threshold)
    return (logits / temperature).softmax(dim=1)


def _postfilter(logits: Tensor, forget: Tensor, threshold: float) -> Tensor:
    dropped = forget & (logits.softmax(dim=1) > threshold)
    lowest = logits.amin(dim=1, keepdim=True)
    surplus = ((logits - lowest) * dropped).sum(dim=1, keepdim=True) / (~forget).sum()
    return torch.where(dropped, lowest, torch.where(forget, logits, logits + surplus))


def row_divergence(target: Tensor, logits: Tensor, temperature: float = 1.0) -> Tensor:
    """KL(target || softmax(logits / temperature)) of each row in nats, (B,).

    Args:
        target: probabilities (B, K); zeros add nothing.
        logits: of the student, (B, K).
        temperature: divides the logits.
    """
    log_student = (logits / temperature).log_softmax(dim=1)
    # The clamp gives zeros a finite gradient, which xlogy does not: the generator needs it.
    log_target = target.clamp(min=torch.finfo(target.dtype).tiny).log()
    return (target * (log_target - log_student)).sum(dim=1)


def answer_loss(
    student: nn.Module,
    images: Tensor,
    target: Tensor,
    hardware: Hardware,
    temperature: float = 1.0,
) -> Callable[[Tensor], Tensor]:
    """The mean divergence in nats of the student from target rows (N, K), on row numbers (B,)."""

    def loss_of(rows: Tensor) -> Tensor:
        logits = student(hardware.layout(images[rows])).float()
        return row_divergence(target[rows], logits, temperature).mean()

    return loss_of


def weighted_mean(rows: Tensor, weights: Tensor) -> Tensor:
    """Mean of per-row values (B,) under row weights (B,); 0 where all weights are 0."""
    return (rows * weights).sum() / weights.sum().clamp(min=1e-6)


def attention_loss(teacher: list[Tensor], student: list[Tensor], weights: Tensor) -> Tensor:
    """Sum over layers of the weighted mean squared difference of attention maps.

    "Zero-Shot Machine Unlearning", eq. for L_at; mean over samples and positions as in its code.

    Args:
        teacher: normalised maps (B, H * W) of each layer.
        student: the same of the student.
        weights: row weights (B,).
    """
    losses = [
        weighted_mean((t - s).square().mean(dim=1), weights)
        for t, s in zip(teacher, student, strict=True)
    ]
    return torch.stack(losses).sum() if losses else weights.new_zeros(())


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


@torch.no_grad()
def answers(teacher: nn.Module, images: Tensor, batch_size: int, hardware: Hardware) -> Tensor:
    """The teacher's logits (N, K), float32, on images (N, C, H, W)."""
    with hardware.autocast():
        logits = [teacher(hardware.layout(part)) for part in images.split(batch_size)]
    return torch.cat(logits).float()
