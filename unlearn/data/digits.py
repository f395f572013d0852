"""scikit-learn's handwritten digits: 1,797 grey images of 8 x 8, shipped with the library."""

import math
from importlib.metadata import distribution

import numpy as np
import torch
from numpy.typing import NDArray

from unlearn.data.source import RawImages

_FILE = "sklearn/datasets/data/digits.csv.gz"


def load(test_fraction: float) -> RawImages:
    """Load the digits with a fixed, stratified test split.

    The file and the split are those of `load_digits` and `train_test_split(random_state=0)`.
    Importing scikit-learn for them would take as long as a small training.

    Args:
        test_fraction: Share of the test set, in (0, 1). The split does not depend on the seed of
            the run, so that every run is measured on the same images.
    """
    file = distribution("scikit-learn").locate_file(_FILE)
    table = np.loadtxt(str(file), delimiter=",", dtype=np.uint8)
    # `[:, None]` decides the strides, by which torch takes the images as channels-last.
    images = np.rint(table[:, :-1] * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8)[:, None]
    labels = table[:, -1].astype(np.int64)
    train, test = _split_by_class(labels, math.ceil(test_fraction * len(labels)))
    return RawImages(
        *(torch.from_numpy(values[rows]) for rows in (train, test) for values in (images, labels))
    )


def _split_by_class(
    labels: NDArray[np.int64], test_count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the training and the test rows that scikit-learn draws with seed 0."""
    random = np.random.RandomState(0)
    counts = np.bincount(labels)
    train_counts = _share_out(counts, len(labels) - test_count, random)
    test_counts = _share_out(counts - train_counts, test_count, random)
    train, test = list[int](), list[int]()
    for label, count in enumerate(counts):
        rows = np.flatnonzero(labels == label)[random.permutation(count)]
        first = train_counts[label]
        train.extend(rows[:first])
        test.extend(rows[first : first + test_counts[label]])
    return random.permutation(train), random.permutation(test)


def _share_out(
    counts: NDArray[np.int64], total: int, random: np.random.RandomState
) -> NDArray[np.int64]:
    """Return how many of `total` rows each class gives; largest remainders first, ties drawn."""
    exact = counts / counts.sum() * total
    shares = np.floor(exact)
    remainders = exact - shares
    for remainder in np.sort(np.unique(remainders))[::-1]:
        left = int(total - shares.sum())
        if left == 0:
            break
        tied = np.flatnonzero(remainders == remainder)
        shares[random.choice(tied, size=min(len(tied), left), replace=False)] += 1
    return np.asarray(shares, dtype=np.int64)
