"""scikit-learn's digits as bytes, with a fixed and stratified test split."""

from collections import Counter

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from unlearn.data import digits


def as_counter(images: torch.Tensor, labels: torch.Tensor) -> Counter[tuple[bytes, int]]:
    """How often every labelled image occurs."""
    return Counter(
        (image.numpy().tobytes(), int(label)) for image, label in zip(images, labels, strict=True)
    )


def test_pixels_are_the_sixteenths_scaled_to_bytes() -> None:
    raw = digits.load(0.3)
    scale = np.array([round(level * 255 / 16) for level in range(17)], dtype=np.uint8)
    bunch = load_digits()
    expected = torch.from_numpy(scale[bunch.images.astype(int)][:, None])
    found = as_counter(
        torch.cat([raw.train_images, raw.test_images]),
        torch.cat([raw.train_labels, raw.test_labels]),
    )
    assert found == as_counter(expected, torch.from_numpy(bunch.target))
    assert int(raw.train_images.max()) == 255
    assert int(raw.train_images.min()) == 0


def test_shapes_and_dtypes() -> None:
    raw = digits.load(0.3)
    assert raw.train_images.shape == (1257, 1, 8, 8)
    assert raw.test_images.shape == (540, 1, 8, 8)
    assert raw.train_images.dtype == raw.test_images.dtype == torch.uint8
    assert raw.train_labels.shape == (1257,)
    assert raw.test_labels.shape == (540,)
    assert raw.train_labels.dtype == raw.test_labels.dtype == torch.int64


@pytest.mark.parametrize("fraction", [0.2, 0.3, 0.5])
def test_split_is_that_of_scikit_learn(fraction: float) -> None:
    images, labels = load_digits(return_X_y=True)
    expected = train_test_split(
        *(np.rint(images * (255 / 16)).astype(np.uint8), labels),
        test_size=fraction,
        stratify=labels,
        random_state=0,
    )
    raw = digits.load(fraction)
    found = (raw.train_images, raw.test_images, raw.train_labels, raw.test_labels)
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one.flatten(1) if one.dim() == 4 else one, other)
    assert raw.train_images.is_contiguous(memory_format=torch.channels_last)


def test_split_is_the_same_whatever_the_global_seeds() -> None:
    np.random.seed(1)
    torch.manual_seed(1)
    first = digits.load(0.3)
    np.random.seed(2)
    torch.manual_seed(2)
    second = digits.load(0.3)
    assert torch.equal(first.test_images, second.test_images)
    assert torch.equal(first.train_labels, second.train_labels)
