"""What a network answers, computed batch by batch without gradients."""

import torch
from torch import Tensor, nn

from unlearn.hardware import ROWS, Hardware


@torch.no_grad()
def compute_logits(
    network: nn.Module, images: Tensor, hardware: Hardware, batch_size: int = ROWS
) -> Tensor:
    """Logits (N, K), float32, of a network in the mode that it is in.

    Args:
        network: maps images to logits; not changed.
        images: (N, C, H, W), normalised, on the device.
        hardware: precision and memory format.
        batch_size: images per forward pass.
    """
    return torch.cat([hardware.run(network, batch) for batch in images.split(batch_size)])
