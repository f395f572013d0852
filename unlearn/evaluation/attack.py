"""White-box inversion: images that a network takes for given classes, found by gradient ascent."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam

from unlearn.request import Request
from unlearn.synthesis.inversion import total_variation


def inverted(
    network: nn.Module,
    request: Request,
    labels: Tensor,
    *,
    steps: int,
    learning_rate: float,
    tv_weight: float,
    seed: int,
) -> Tensor:
    """Images (N, C, H, W), normalised, that raise the probability of their labels.

    Gradient ascent on the class's log-probability from noise with a total-variation prior
    ("Zero-Shot Machine Unlearning", section VI).

    Args:
        network: in eval mode; not changed.
        request: shape and bounds.
        labels: class of each image (N,), on the device.
        steps: of Adam.
        learning_rate: of Adam.
        tv_weight: of the total variation.
        seed: of the starts, which depend on nothing else.
    """
    random = torch.Generator().manual_seed(seed)
    images = torch.randn(len(labels), *request.shape, generator=random).to(labels.device)
    images = images.clamp(request.lowest, request.highest).requires_grad_()
    optimizer = Adam([images], learning_rate)
    for _ in range(steps):
        loss = F.cross_entropy(network(images), labels) + tv_weight * total_variation(images)
        optimizer.zero_grad()
        loss.backward(inputs=[images])
        optimizer.step()
        with torch.no_grad():
            images.clamp_(request.lowest, request.highest)
    return images.detach()
