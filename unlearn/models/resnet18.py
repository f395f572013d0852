"""torchvision's ResNet-18 (He et al., 2016) with a stem for small images."""

from torch import nn
from torchvision.models import resnet18


def small_image_resnet18(in_channels: int, num_classes: int) -> nn.Module:
    """Build ResNet-18 with a 3 x 3 stem of stride 1 and no first pooling.

    Args:
        in_channels: Channels of an image, 1 or 3.
        num_classes: Number of logits.
    """
    network: nn.Module = resnet18(num_classes=num_classes)
    network.conv1 = nn.Conv2d(in_channels, 64, 3, padding=1, bias=False)
    network.maxpool = nn.Identity()
    return network
