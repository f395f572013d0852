"""Whether the teacher sees in synthesised images the classes that they were made for."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def answered(logits: Tensor, labels: Tensor) -> Tensor:
    """Which images the teacher answers with the class they were made for, bool (N,).

    Of a class that has none such all are kept: they are the nearest to it that there is.

    Args:
        logits: of the teacher, (N, K).
        labels: the classes wanted, (N,).
    """
    right = logits.argmax(dim=1) == labels
    found = torch.zeros(logits.shape[1], dtype=torch.bool, device=logits.device)
    found[labels[right]] = True
    return right | ~found[labels]


def verdict(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """The teacher's confidence in each class's images, and how evenly it answers.

    Args:
        logits: of the teacher, (N, K).
        labels: the classes wanted, (N,), each equally often.

    Returns:
        `confidence.k`: mean probability of class k over the images made for it, for each class
        wanted. `answered`: share of images answered with the class wanted. `balance`: entropy of
        the answers over that of an even spread over all K classes, in [0, 1].
    """
    wanted = labels.unique()
    probabilities = logits.softmax(dim=1)[torch.arange(len(labels)), labels]
    figures = {
        f"confidence.{label}": probabilities[labels == label].mean() for label in wanted.tolist()
    }
    answers = logits.argmax(dim=1)
    shares = answers.bincount(minlength=logits.shape[1]) / len(answers)
    spread = torch.special.entr(shares).sum() / math.log(logits.shape[1])
    return {**figures, "answered": (answers == labels).double().mean(), "balance": spread}
