"""Targets without the forget classes, and the losses that students are trained with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlearn.hardware import Hardware
from unlearn.protocol import Request
from unlearn.synthesis.sources import Examples

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
        logits = hardware.run(student, images[rows])
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


def class_loss(
    student: nn.Module, examples: Examples, hardware: Hardware
) -> Callable[[Tensor], Tensor]:
    """The mean cross-entropy in nats of the student on row numbers (B,) of the examples."""

    def loss_of(rows: Tensor) -> Tensor:
        logits = hardware.run(student, examples.images[rows])
        return F.cross_entropy(logits, examples.labels[rows])

    return loss_of


def relabelled(examples: Examples, request: Request, random: torch.Generator) -> Examples:
    """The same rows, each of a forget class under a random retain class."""
    images, labels = examples
    retain = torch.tensor(request.retain)
    drawn = retain[torch.randint(len(retain), labels.shape, generator=random)].to(labels.device)
    return Examples(images, torch.where(request.forget_mask[labels], drawn, labels))
