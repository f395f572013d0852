"""What a loader says of files that it cannot read."""

from collections.abc import Callable
from pathlib import Path

import pytest

from unlearn.data.source import RawImages
from unlearn.errors import ConfigError


def refusal(
    load: Callable[[str, bool], RawImages],
    name: str,
    root: Path | str,
    folder: Path | None = None,
    download: bool = False,
) -> str:
    """Return the one line that a loader refuses a folder with.

    Args:
        load: The loader.
        name: Name of its data set.
        root: The folder as typed.
        folder: The folder as shown; None: as typed.
        download: Whether the loader may download.
    """
    with pytest.raises(ConfigError) as caught:
        load(str(root), download)
    message = str(caught.value)
    assert caught.value.key == "dataset.root"
    assert "\n" not in message
    assert message.startswith(f"dataset.root={root}: no readable {name} data in {folder or root} (")
    assert "dataset.download=true" in message or download
    return message
