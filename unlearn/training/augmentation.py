"""Random crops and flips of images, and masks that mix features, as tensor operations."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from unlearn.config.schema import AugmentConfig


def augment(images: Tensor, random: torch.Generator, settings: AugmentConfig) -> Tensor:
    """Return a batch whose images are shifted and mirrored at random, each by its own draw.

    Args:
        images: (B, C, H, W).
        random: Of the draws, on the CPU. Nothing is drawn if nothing is asked for.
        settings: `crop`, the pixels by which each side is padded with its reflection before a
            window of H x W pixels is cut out, from 0 to min(H, W) - 1. `flip`, whether an image is
            mirrored left to right with probability 1/2.
    """
    count, _, height, width = images.shape
    crop = settings.crop
    if crop:
        padded = F.pad(images, (crop, crop, crop, crop), mode="reflect")
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # a view, one entry a shift
        down, right = torch.randint(2 * crop + 1, (2, count), generator=random)
        images = windows[torch.arange(count), :, down, right]
    if settings.flip:
        mirrored = torch.rand(count, generator=random) < 0.5
        images = torch.where(mirrored.to(images.device).view(-1, 1, 1, 1), images.flip(3), images)
    return images


def draw_mask(features: Tensor, cells: tuple[int, ...], random: torch.Generator) -> Tensor | None:
    """Draw which positions of each row of features are kept, in coarse cells.

    Args:
        features: Maps (B, C, H, W), or tokens (B, T, D).
        cells: Numbers of cells a side, of which one is drawn.
        random: Generator of the draw, on the CPU.

    Returns:
        Bool (B, 1, H, W) or (B, T, 1); None for features without positions.
    """
    if not cells or features.dim() not in (3, 4):
        return None
    count = cells[int(torch.randint(len(cells), (1,), generator=random))]
    if features.dim() == 3:
        kept = torch.rand(len(features), 1, count**2, generator=random) < 0.5
        mask = F.interpolate(kept.float(), size=features.shape[1]).transpose(1, 2)
    else:
        kept = torch.rand(len(features), 1, count, count, generator=random) < 0.5
        mask = F.interpolate(kept.float(), size=features.shape[2:])
    return (mask > 0).to(features.device)
