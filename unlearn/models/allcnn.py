"""AllCNN (Springenberg et al., 2015) with batch norm, as the unlearning literature uses it."""

from torch import Tensor, nn

from unlearn.errors import ConfigError


def _block(in_channels: int, out_channels: int, kernel: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    )


class AllCNN(nn.Module):
    """conv-BN-ReLU 96, 96, 192 s2, 192, 192, 192 s2, 192, 192 (1 x 1), average pool, linear.

    Args:
        in_channels: Channels of an image, 1 or 3.
        num_classes: Number of logits.
        width: Factor on every channel count; 1.0 has 1.6 M parameters.
    """

    def __init__(self, in_channels: int, num_classes: int, width: float = 1.0) -> None:
        super().__init__()
        narrow, wide = round(96 * width), round(192 * width)
        if narrow < 1:
            raise ConfigError("model.width", width, "leaves no channel; allowed is 0.01 or more")
        plan = [
            (narrow, 3, 1),
            (narrow, 3, 1),
            (wide, 3, 2),
            (wide, 3, 1),
            (wide, 3, 1),
            (wide, 3, 2),
            (wide, 3, 1),
            (wide, 1, 1),
        ]
        blocks = []
        for out_channels, kernel, stride in plan:
            blocks.append(_block(in_channels, out_channels, kernel, stride))
            in_channels = out_channels
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(wide, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) to logits (B, K)."""
        logits: Tensor = self.head(self.blocks(images).mean(dim=(2, 3)))
        return logits
