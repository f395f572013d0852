"""Logits of a network, computed in batches without gradients."""

import torch
from torch import Tensor, nn

from unlearn.hardware import ROWS, Hardware


@torch.no_grad()
def compute_logits(
    network: nn.Module, images: Tensor, hardware: Hardware, batch_size: int = ROWS
) -> Tensor:
    """Compute the logits (N, K), or other outputs, of a network, float32.

    Args:
        network: Maps images to logits; its mode and weights stay.
        images: (N, C, H, W), normalised, on the device.
        hardware: Precision and memory format.
        batch_size: Images of a forward pass.
    """
    return torch.cat([hardware.run(network, batch) for batch in images.split(batch_size)])
