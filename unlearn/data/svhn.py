"""SVHN (Netzer et al., 2011): cropped house numbers from torchvision's .mat files."""

from torchvision import datasets

from unlearn.data.source import RawImages, from_torchvision


def load(root: str, download: bool) -> RawImages:
    """Load the train and test files; the `extra` file is not used.

    Args:
        root: Folder in which torchvision looks.
        download: Whether torchvision may download missing files.

    Raises:
        ConfigError: If the files are missing or damaged.
    """
    return from_torchvision(
        lambda train: datasets.SVHN(root, split="train" if train else "test", download=download),
        "svhn",
        root,
        download,
    )
