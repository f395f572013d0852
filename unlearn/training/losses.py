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
    """Probabilities that the student is taught to answer with.

    Args:
        logits: Logits of the teacher, (B, K).
        forget: Bool (K,), true at the classes to forget.
        target: `raw`: the teacher's softmax. `masked`: the softmax over the retain classes,
            exactly 0 at the forget classes. `postfilter`: where a forget class holds more than
            `postfilter_threshold` of the probability, its logit drops to the row's minimum and
            the difference is shared out over the retain logits ("Toward Efficient Data-Free
            Unlearning", ISPF, AAAI 2025, and its code).
        temperature: Divides the logits, above 0.
        postfilter_threshold: Probability in [0, 1].

    Returns:
        (B, K); each row sums to 1.
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
    """KL(target || softmax(logits / temperature)) of each row, (B,), nats.

    Args:
        target: Probabilities (B, K); zeros add nothing.
        logits: Logits of the student, (B, K).
        temperature: Divides the logits, above 0.
    """
    log_student = (logits / temperature).log_softmax(dim=1)
    # The clamp gives zeros a finite gradient, which xlogy does not: the generator needs it.
    log_target = target.clamp(min=torch.finfo(target.dtype).tiny).log()
    return (target * (log_target - log_student)).sum(dim=1)


def weighted_mean(rows: Tensor, weights: Tensor) -> Tensor:
    """Mean of row values (B,) under row weights (B,), a scalar; 0 where all weights are 0."""
    return (rows * weights).sum() / weights.sum().clamp(min=1e-6)


def attention_loss(teacher: list[Tensor], student: list[Tensor], weights: Tensor) -> Tensor:
    """Sum over layers of the weighted mean squared difference of attention maps, a scalar.

    "Zero-Shot Machine Unlearning" (TIFS 2023), equation of L_at. As in its code, the mean is over
    samples and positions.

    Args:
        teacher: Normalised maps (B, H * W) of each layer of the teacher.
        student: The same of the student.
        weights: Row weights (B,).
    """
    losses = [
        weighted_mean((t - s).square().mean(dim=1), weights)
        for t, s in zip(teacher, student, strict=True)
    ]
    return torch.stack(losses).sum() if losses else weights.new_zeros(())


def make_target_loss(
    student: nn.Module,
    images: Tensor,
    target: Tensor,
    hardware: Hardware,
    temperature: float = 1.0,
) -> Callable[[Tensor], Tensor]:
    """Return a function of row numbers (B,): the mean KL(target || student) on them, nats.

    Args:
        student: Maps images to logits.
        images: (N, C, H, W), normalised.
        target: Probabilities (N, K) that the student is taught.
        hardware: Precision and memory format.
        temperature: Divides the student's logits, above 0.
    """

    def loss_of(rows: Tensor) -> Tensor:
        logits = hardware.run(student, images[rows])
        return row_divergence(target[rows], logits, temperature).mean()

    return loss_of


def make_class_loss(
    student: nn.Module, examples: Examples, hardware: Hardware
) -> Callable[[Tensor], Tensor]:
    """Return a function of row numbers (B,): the mean cross-entropy on them, nats.

    Args:
        student: Maps images to logits.
        examples: Images and their classes.
        hardware: Precision and memory format.
    """

    def loss_of(rows: Tensor) -> Tensor:
        logits = hardware.run(student, examples.images[rows])
        return F.cross_entropy(logits, examples.labels[rows])

    return loss_of


def relabel_randomly(examples: Examples, request: Request, random: torch.Generator) -> Examples:
    """Give each image of a forget class a retain class drawn at random; the others keep theirs."""
    images, labels = examples
    retain = torch.tensor(request.retain)
    drawn = retain[torch.randint(len(retain), labels.shape, generator=random)].to(labels.device)
    return Examples(images, torch.where(request.forget_mask[labels], drawn, labels))
