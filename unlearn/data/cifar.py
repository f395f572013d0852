"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009) from torchvision's pickled batches."""

from __future__ import annotations

from torchvision import datasets

from unlearn.data.source import RawImages, from_torchvision


def load_cifar10(root: str, download: bool) -> RawImages:
    """Load CIFAR-10 from `root`."""
    return _load(datasets.CIFAR10, "cifar10", root, download)


def load_cifar100(root: str, download: bool) -> RawImages:
    """Load CIFAR-100, with its 100 fine labels, from `root`."""
    return _load(datasets.CIFAR100, "cifar100", root, download)


def _load(kind: type[datasets.CIFAR10], name: str, root: str, download: bool) -> RawImages:
    return from_torchvision(
        lambda train: kind(root, train=train, download=download), name, root, download
    )
