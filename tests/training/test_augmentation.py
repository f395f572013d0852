"""Random crops and flips."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from unlearn.config.schema import AugmentConfig
from unlearn.training.augmentation import augment


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_each_crop_is_a_window_of_the_reflected_image() -> None:
    images = torch.rand(200, 3, 6, 5, generator=draw(1))
    found = augment(images, draw(), AugmentConfig(crop=2))
    padded = F.pad(images, (2, 2, 2, 2), mode="reflect")
    shifts = set()
    for image, whole in zip(found, padded, strict=True):
        fits = [
            (down, right)
            for down in range(5)
            for right in range(5)
            if torch.equal(image, whole[:, down : down + 6, right : right + 5])
        ]
        assert len(fits) == 1
        shifts.add(fits[0])
    assert len(shifts) == 25


def test_half_of_the_images_are_mirrored() -> None:
    images = torch.rand(400, 1, 4, 4, generator=draw(1))
    found = augment(images, draw(), AugmentConfig(flip=True))
    mirrored = (found == images.flip(3)).flatten(1).all(dim=1)
    assert ((found == images).flatten(1).all(dim=1) ^ mirrored).all()
    assert 160 < int(mirrored.sum()) < 240


def test_without_augmentation_nothing_is_drawn() -> None:
    images, random = torch.rand(4, 1, 4, 4), draw()
    assert augment(images, random, AugmentConfig()) is images
    assert torch.equal(random.get_state(), draw().get_state())
