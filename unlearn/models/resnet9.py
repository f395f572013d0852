"""ResNet-9: two residual blocks among four plain ones, after Page's DAWNBench network (2018)."""

from torch import Tensor, nn


def _block(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    )


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_block(channels, channels), _block(channels, channels))

    def forward(self, maps: Tensor) -> Tensor:
        result: Tensor = maps + self.body(maps)
        return result


class ResNet9(nn.Module):
    """64, 128, pool, residual 128, 256, pool, 256, pool, residual 256, pool, linear.

    Pooling stops at one pixel, so that images of 8 x 8 work too.

    Args:
        in_channels: Channels of an image, 1 or 3.
        num_classes: Number of logits.
        width: Factor on every channel count.
    """

    def __init__(self, in_channels: int, num_classes: int, width: float = 1.0) -> None:
        super().__init__()
        c64, c128, c256 = (round(c * width) for c in (64, 128, 256))
        self.stages = nn.ModuleList(
            [
                _block(in_channels, c64),
                nn.Sequential(_block(c64, c128), nn.MaxPool2d(2), _Residual(c128)),
                nn.Sequential(_block(c128, c256), nn.MaxPool2d(2)),
                nn.Sequential(_block(c256, c256), nn.MaxPool2d(2), _Residual(c256)),
            ]
        )
        self.pool = nn.AdaptiveMaxPool2d(1)
        self.head = nn.Linear(c256, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) to logits (B, K)."""
        maps = images
        for stage in self.stages:
            maps = stage(maps)
        logits: Tensor = self.head(self.pool(maps).flatten(1))
        return logits
