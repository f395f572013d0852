"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009): torchvision's pickled batches, or one .npz file."""

from torchvision import datasets

from unlearn.data import npz
from unlearn.data.source import RawImages, from_torchvision

_MOST_BYTES = 2e9  # of the images in an .npz file; CIFAR's have 184 million


def load_cifar10(root: str, download: bool) -> RawImages:
    """Load CIFAR-10.

    Args:
        root: Folder in which torchvision looks, or an `.npz` file in MedMNIST's layout.
        download: Whether torchvision may download missing files.

    Raises:
        ConfigError: If the files are missing or damaged.
    """
    return _load(datasets.CIFAR10, "cifar10", root, download)


def load_cifar100(root: str, download: bool) -> RawImages:
    """Load CIFAR-100 with its 100 fine labels; the arguments are those of `load_cifar10`."""
    return _load(datasets.CIFAR100, "cifar100", root, download)


def _load(kind: type[datasets.CIFAR10], name: str, root: str, download: bool) -> RawImages:
    if root.endswith(".npz"):
        return npz.load(root, memory=_MOST_BYTES)
    return from_torchvision(
        lambda train: kind(root, train=train, download=download), name, root, download
    )
