"""Quantities of the methods' papers, computed in NumPy and SciPy."""

from typing import Any

import numpy as np
from scipy import special
from torch import Tensor, nn

from tests.helpers.tiny import TinyNet


def statistics_distance(inputs: Tensor, layer: nn.BatchNorm2d) -> float:
    """||variance - running variance|| + ||mean - running mean|| of inputs (B, C, H, W)."""
    x = inputs.detach().double().numpy()
    gaps = (
        x.mean(axis=(0, 2, 3)) - layer.running_mean.numpy(),
        x.var(axis=(0, 2, 3)) - layer.running_var.numpy(),
    )
    return float(sum(np.linalg.norm(gap) for gap in gaps))


def batch_norm_prior(network: TinyNet, images: Tensor, first_layer_factor: float) -> float:
    """R_BN of a batch: the distances of both layers, the first one weighed."""
    inner = network.first(images)
    first = statistics_distance(network.first[0](images), network.first[1])
    second = statistics_distance(network.second[0](inner), network.second[1])
    return first_layer_factor * first + second


def masked_divergence(
    teacher: Tensor, student: Tensor, kept: Any = slice(None), temperature: float = 1.0
) -> float:
    """KL(teacher without class 0 || student) of logits, mean over kept rows and over classes."""
    p, q = (
        special.softmax(logits.detach().double().numpy() / temperature, axis=1)
        for logits in (teacher, student)
    )
    p[:, 0] = 0
    p /= p.sum(axis=1, keepdims=True)
    return float(special.rel_entr(p, q).sum(axis=1)[kept].mean() / p.shape[1])
