"""Synthesised images on disk, for the runs that ask one teacher for the same images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unlearn.config.hashing import digest
from unlearn.files import make_folder, remove_leftovers, replace_file, report_damage


@dataclass
class ImageCache:
    """Images in files, each under the hash of everything that decides them.

    Args:
        folder: Folder of the files; None: nothing is stored or found.
        determinants: What all images depend on, as plain values: teacher, precision, source code.
        seconds: What the images that were found had taken to make, summed.
    """

    folder: Path | None = None
    determinants: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    def load(self, settings: Mapping[str, Any], random: torch.Generator) -> Tensor | None:
        """Return images of these settings, or None if there are none.

        Args:
            settings: What the images depend on beside `determinants` and `random`.
            random: It is left as it was after the images were made.
        """
        file = self._file(settings, random)
        if file is None or not file.exists():
            return None
        try:
            kept = torch.load(file, weights_only=True)
            images, state, seconds = kept["images"], kept["random"], float(kept["seconds"])
            random.set_state(state)
        except Exception:  # whatever the bytes of a damaged file happen to mean
            report_damage(file, "cannot be read", "the images are made again")
            return None
        self.seconds += seconds
        return images if isinstance(images, Tensor) else None

    def save(
        self,
        settings: Mapping[str, Any],
        before: torch.Generator,
        images: Tensor,
        after: torch.Generator,
        seconds: float,
    ) -> None:
        """Store images, unless the folder cannot be written.

        Args:
            settings: As for `load`.
            before: The state of the random numbers before the images were made.
            images: (N, C, H, W).
            after: The state afterwards.
            seconds: What it took to make them.
        """
        file = self._file(settings, before)
        if file is None:
            return
        kept = {"images": images.cpu(), "random": after.get_state(), "seconds": seconds}
        try:
            make_folder(file.parent)
            remove_leftovers(file.parent, locked=False)
            replace_file(file, partial(torch.save, kept))
        except OSError:  # a full or read-only disk: the next run makes the images again
            return

    def _file(self, settings: Mapping[str, Any], random: torch.Generator) -> Path | None:
        if self.folder is None:
            return None
        state = random.get_state().tolist()
        about = {"about": dict(self.determinants), "settings": dict(settings), "random": state}
        return self.folder / f"{digest(about)}.pt"
