"""The few steps of training that an auditor gives a copy of a network."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam

from unlearn.hardware import Hardware


class Trainer:
    """Adam on cross-entropy, a batch at a time, in place.

    Args:
        network: in the mode in which it is to be trained.
        learning_rate: of Adam.
        hardware: precision and layout.
    """

    def __init__(self, network: nn.Module, learning_rate: float, hardware: Hardware) -> None:
        self._network, self._hardware = network, hardware
        self._optimizer = Adam(network.parameters(), learning_rate, fused=True)

    def step(self, images: Tensor, labels: Tensor) -> None:
        """One step on images (B, C, H, W) and labels (B,)."""
        with torch.enable_grad(), self._hardware.autocast():
            logits = self._network(self._hardware.layout(images))
            loss = F.cross_entropy(logits.float(), labels)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
