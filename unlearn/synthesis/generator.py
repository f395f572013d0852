"""The image generator of zero-shot knowledge transfer."""

from __future__ import annotations

from torch import Tensor, nn

from unlearn.errors import ConfigError


class ImageGenerator(nn.Module):
    """Maps noise to normalised images.

    Linear to (width, H/4, W/4), BN, up x 2, conv3 width, BN, LeakyReLU 0.2, up x 2,
    conv3 width/2, BN, LeakyReLU 0.2, conv3 C, BN with affine. No tanh: the last BN centres the
    output where normalised images are. After Micaelli & Storkey, "Zero-shot Knowledge Transfer
    via Adversarial Belief Matching", 2019; width 128 and latent 128 as published.

    Args:
        latent: dimension of the noise.
        shape: (C, H, W) of an image; H and W divisible by 4.
        width: channels of the first convolution, even.

    Raises:
        ConfigError: naming `dataset.shape` if H or W is not divisible by 4.
    """

    def __init__(self, latent: int, shape: tuple[int, int, int], width: int) -> None:
        super().__init__()
        channels, height, width_px = shape
        if height % 4 or width_px % 4:
            raise ConfigError(
                "dataset.shape", list(shape), "height and width must be divisible by 4 to generate"
            )
        self.latent = latent
        self.layers = nn.Sequential(
            nn.Linear(latent, width * (height // 4) * (width_px // 4)),
            nn.Unflatten(1, (width, height // 4, width_px // 4)),
            nn.BatchNorm2d(width),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(width, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.LeakyReLU(0.2),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(width, width // 2, 3, padding=1),
            nn.BatchNorm2d(width // 2),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width // 2, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
        )

    def forward(self, noise: Tensor) -> Tensor:
        """Map noise (B, latent) to images (B, C, H, W)."""
        images: Tensor = self.layers(noise)
        return images
