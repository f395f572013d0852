"""scikit-learn's handwritten digits: 1,797 grey images of 8 x 8, shipped with the library."""

import numpy as np
import torch

from unlearn.data.source import RawImages


def load(test_fraction: float) -> RawImages:
    """Load the digits with a fixed, stratified test split.

    Args:
        test_fraction: Share of the test set, in (0, 1). The split does not depend on the seed of
            the run, so that every run is measured on the same images.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    train, test, train_labels, test_labels = train_test_split(
        images, bunch.target, test_size=test_fraction, stratify=bunch.target, random_state=0
    )
    return RawImages(
        torch.from_numpy(train),
        torch.from_numpy(train_labels).long(),
        torch.from_numpy(test),
        torch.from_numpy(test_labels).long(),
    )
