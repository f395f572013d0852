"""LeNet-5 (LeCun et al., 1998) as in "Zero-Shot Machine Unlearning": two convolutions, no BN."""

import torch
from torch import Tensor, nn


class _Pool(nn.MaxPool2d):
    """2 x 2 max pooling that skips the indices if no gradient is needed.

    On a CPU the maximum of two views takes a tenth of the time of max pooling with indices.
    """

    def __init__(self) -> None:
        super().__init__(2)

    def forward(self, maps: Tensor) -> Tensor:
        """Map (..., H, W) to (..., H // 2, W // 2)."""
        if torch.is_grad_enabled():
            pooled: Tensor = super().forward(maps)
            return pooled
        even = maps[..., : maps.shape[-2] // 2 * 2, : maps.shape[-1] // 2 * 2]
        rows = torch.maximum(even[..., ::2, :], even[..., 1::2, :])
        return torch.maximum(rows[..., ::2], rows[..., 1::2])


class LeNet(nn.Module):
    """conv5 6, pool, conv5 16, pool, 400-120-84-K with ReLUs.

    Inputs of up to 32 x 32 are zero-padded to 32 x 32 (odd sizes to 33 x 33), which gives the 400
    features.

    Args:
        in_channels: Channels of an image, 1 or 3.
        num_classes: Number of logits.
        image_size: Height and width of an image, at most 32.
    """

    def __init__(self, in_channels: int, num_classes: int, image_size: int) -> None:
        super().__init__()
        border = (33 - image_size) // 2
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 6, 5, padding=border),
            nn.ReLU(),
            _Pool(),
            nn.Conv2d(6, 16, 5),
            nn.ReLU(),
            _Pool(),
        )
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(400, 120),
            nn.ReLU(),
            nn.Linear(120, 84),
            nn.ReLU(),
            nn.Linear(84, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) to logits (B, K)."""
        logits: Tensor = self.head(self.features(images))
        return logits
