"""ResNet-20, 32, 44 and 56 for images of 32 x 32 (He et al., 2016, section 4.2)."""

import torch.nn.functional as F
from torch import Tensor, nn

from unlearn.errors import ConfigError


class _Block(nn.Module):
    """Two 3 x 3 convolutions and a shortcut without parameters (option A of the paper).

    Where the block halves the resolution, the shortcut takes every second pixel and adds channels
    of zeros, half of them before and half of them after its own.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.stride, self.added = stride, out_channels - in_channels

    def forward(self, maps: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C', H / stride, W / stride)."""
        residual = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(maps)))))
        if self.stride > 1 or self.added:
            before = self.added // 2
            maps = maps[:, :, :: self.stride, :: self.stride]
            maps = F.pad(maps, (0, 0, 0, 0, before, self.added - before))
        return F.relu(residual + maps)


class CifarResNet(nn.Module):
    """3 x 3 convolution, three stages of 16, 32 and 64 channels, average pooling, linear layer.

    The names of the layers are those of the CIFAR-10 checkpoints that are most widely shared:
    conv1, bn1, layer{1,2,3}.{block}.{conv1,bn1,conv2,bn2}, linear.

    Args:
        in_channels: Number of channels of an image.
        num_classes: Number of logits.
        depth: Number of layers with weights: 6 n + 2, with n blocks in each stage.
        width: Factor on every channel count; 1.0 is the published network.

    Raises:
        ConfigError: If there is no network of this depth, or the width leaves no channel.
    """

    def __init__(self, in_channels: int, num_classes: int, depth: int, width: float = 1.0) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 2, 6)
        if rest or blocks < 1:
            raise ConfigError("model.depth", depth, "allowed are 8, 14, 20, 26, 32, ... (6 n + 2)")
        narrow, middle, wide = (round(channels * width) for channels in (16, 32, 64))
        if narrow < 1:
            raise ConfigError("model.width", width, "leaves no channel; allowed is 0.04 or more")
        self.conv1 = nn.Conv2d(in_channels, narrow, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(narrow)
        self.layer1 = _stage(blocks, narrow, narrow, stride=1)
        self.layer2 = _stage(blocks, narrow, middle, stride=2)
        self.layer3 = _stage(blocks, middle, wide, stride=2)
        self.linear = nn.Linear(wide, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) to logits (B, K)."""
        maps = F.relu(self.bn1(self.conv1(images)))
        maps = self.layer3(self.layer2(self.layer1(maps)))
        logits: Tensor = self.linear(maps.mean(dim=(2, 3)))
        return logits


def _stage(blocks: int, in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    first = _Block(in_channels, out_channels, stride)
    return nn.Sequential(first, *(_Block(out_channels, out_channels, 1) for _ in range(blocks - 1)))
