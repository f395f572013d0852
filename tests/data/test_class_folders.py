"""Which files of an image folder count, in which order, under which names."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from torchvision import datasets

from unlearn.data.class_folders import list_classes, list_split
from unlearn.errors import ConfigError


def write(root: Path, *paths: str) -> Path:
    """Empty files at their paths below a folder; no image is read here."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


def listed(root: Path) -> list[tuple[str, int]]:
    """Path and label of each image of the training set."""
    files = list_split(str(root), "train").files
    return [(str(file.path.relative_to(root / "train")), file.label) for file in files]


def test_order_and_labels_are_those_of_torchvision(tmp_path: Path) -> None:
    names = ("zebra", "Apple", "ant", "10", "9", "ant b")
    inner = ("2.png", "10.PNG", "a/1.jpg", "a-b/1.jpeg", "a/b/1.bmp", "1.webp", "b.tiff")
    write(tmp_path, *(f"train/{name}/{path}" for name in names for path in inner))
    reference = datasets.ImageFolder(tmp_path / "train")
    found = list_split(str(tmp_path), "train")
    assert list(found.classes) == reference.classes == list(list_classes(str(tmp_path)))
    assert [(str(file.path), file.label) for file in found.files] == reference.samples


def test_hidden_files_and_other_endings_are_ignored(tmp_path: Path) -> None:
    write(tmp_path, *(f"train/a/{n}" for n in ("1.png", "._1.png", ".x/2.png", "n.txt", "h.heic")))
    write(tmp_path, "train/.ipynb_checkpoints/1.png", "train/.DS_Store", "train/readme.md")
    assert listed(tmp_path) == [("a/1.png", 0)]
    assert list_split(str(tmp_path), "train").others == {".txt": 1, ".heic": 1}


LINKS: dict[str, tuple[str, str]] = {
    "to its own folder": ("a/loop", "."),
    "to a folder above": ("a/b/loop", "../.."),
    "to the root": ("a/loop", "../.."),
    "to itself": ("a/loop", "loop"),
    "to another folder of the class": ("a/again", "b"),
    "to another file of the class": ("a/z.png", "1.png"),
}


@pytest.mark.parametrize("link", LINKS)
def test_each_real_file_counts_once(link: str, tmp_path: Path) -> None:
    write(tmp_path, "train/a/1.png", "train/a/b/2.png", "train/c/3.png")
    place, target = LINKS[link]
    (tmp_path / "train" / place).symlink_to(target)
    found = [
        (os.path.realpath(tmp_path / "train" / path), label) for path, label in listed(tmp_path)
    ]
    expected = [("a/1.png", 0), ("a/b/2.png", 0), ("c/3.png", 1)]
    assert sorted(found) == [(str(tmp_path / "train" / path), label) for path, label in expected]


def test_links_to_files_and_folders_elsewhere_are_followed(tmp_path: Path) -> None:
    write(tmp_path, "pool/x/1.png", "pool/2.png", "train/b/3.png")
    (tmp_path / "train/a").symlink_to(tmp_path / "pool/x")
    (tmp_path / "train/b/2.png").symlink_to(tmp_path / "pool/2.png")
    assert listed(tmp_path) == [("a/1.png", 0), ("b/2.png", 1), ("b/3.png", 1)]


def test_pipes_and_folders_are_no_images(tmp_path: Path) -> None:
    write(tmp_path, "train/a/1.png", "train/a/folder.png/2.png")
    os.mkfifo(tmp_path / "train/a/pipe.png")
    assert listed(tmp_path) == [("a/1.png", 0), ("a/folder.png/2.png", 0)]


REFUSED: dict[str, Callable[[Path], object]] = {
    "cat and dog hold the same file": lambda train: (train / "dog/2.png").symlink_to(
        "../cat/1.png"
    ),
    "wolf/1.png cannot be read": lambda train: [
        write(train, "wolf/2.png"),
        (train / "wolf/1.png").symlink_to("nowhere.png"),
    ],
    "wolf holds no image": lambda train: write(train, "wolf/1.txt"),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_ambiguous_folders_are_refused_by_name(reason: str, tmp_path: Path) -> None:
    write(tmp_path, "train/cat/1.png", "train/dog/1.png")
    REFUSED[reason](tmp_path / "train")
    with pytest.raises(ConfigError) as caught:
        list_split(str(tmp_path), "train")
    assert caught.value.key == "dataset.root"
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("ankle boot", "ankle boot"),
        ("[old]", "[old]"),
        ("ä,b=c", "ä,b=c"),
        ("a\nb\x1b[1m", "a\\nb\\x1b[1m"),
        (os.fsdecode(b"caf\xe9"), "caf\\xe9"),
    ],
)
def test_names_can_be_printed(name: str, shown: str, tmp_path: Path) -> None:
    write(tmp_path, f"train/{name}/1.png")
    assert list_classes(str(tmp_path)) == list_split(str(tmp_path), "train").classes == (shown,)
