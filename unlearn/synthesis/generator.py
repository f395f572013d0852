"""The image generator of zero-shot knowledge transfer."""

import math

import torch.nn.functional as F
from torch import Tensor, nn


class DoublingConv2d(nn.Conv2d):
    """Nearest upsampling by 2 and a 3 x 3 convolution, with 4/9 of the multiplications.

    Each output pixel depends on only 2 x 2 input pixels. The weights that meet the same input
    pixel are summed first; the sums form a transposed convolution of stride 2. The parameters are
    those of the 3 x 3 convolution.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, in, H, W) to (B, out, 2 H, 2 W)."""
        taps = F.pad(self.weight.transpose(0, 1).flip(2, 3), (1, 1, 1, 1))
        rows = taps[:, :, :-1] + taps[:, :, 1:]
        kernel = rows[..., :-1] + rows[..., 1:]
        return F.conv_transpose2d(images, kernel, self.bias, stride=2, padding=1)


class _Crop(nn.Module):
    """Crops maps (..., H, W) to (height, width) at the bottom and at the right."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width

    def forward(self, maps: Tensor) -> Tensor:
        return maps[..., : self.height, : self.width]


class ImageGenerator(nn.Module):
    """Maps noise to normalised images.

    Linear to (width, H/4, W/4), BN, up x 2, conv3 width, BN, LeakyReLU 0.2, up x 2,
    conv3 width/2, BN, LeakyReLU 0.2, conv3 C, BN with affine. There is no tanh: the last
    BN gives the output the mean and scale of normalised images. Quarters are rounded up, and the
    maps are cropped before the last convolution. Micaelli & Storkey, "Zero-shot Knowledge Transfer
    via Adversarial Belief Matching", 2019; published with width 128 and latent 128.

    Args:
        latent: Dimension of the noise.
        shape: Channels, height and width of an image.
        width: Channels of the first convolution, even.
    """

    def __init__(self, latent: int, shape: tuple[int, int, int], width: int) -> None:
        super().__init__()
        channels, *size = shape
        quarters = [math.ceil(pixels / 4) for pixels in size]
        self.latent = latent
        self.layers = nn.Sequential(
            nn.Linear(latent, width * math.prod(quarters)),
            nn.Unflatten(1, (width, *quarters)),
            nn.BatchNorm2d(width),
            DoublingConv2d(width, width),
            nn.BatchNorm2d(width),
            nn.LeakyReLU(0.2),
            DoublingConv2d(width, width // 2),
            nn.BatchNorm2d(width // 2),
            nn.LeakyReLU(0.2),
            _Crop(*size),
            nn.Conv2d(width // 2, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
        )

    def forward(self, noise: Tensor) -> Tensor:
        """Map noise (B, latent) to images (B, C, H, W)."""
        images: Tensor = self.layers(noise)
        return images
