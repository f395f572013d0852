"""Images that are kept as uint8 and normalised when they are read, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as tree


class DataContractError(RuntimeError):
    """A real image or label was read while the data was sealed."""


@dataclass
class Seal:
    """Whether a data set may be read; all its splits share one seal.

    Args:
        closed: True while a method without access is running.
    """

    closed: bool = False

    def check(self) -> None:
        """Raise `DataContractError` if the seal is closed."""
        if self.closed:
            raise DataContractError("real data was read while a method without access was running")


@dataclass(frozen=True, eq=False)
class Pixels:
    """The images of a data set as its files have them, and how they are normalised.

    Args:
        values: uint8 (M, C, H, W), on the device, or in the host's memory or a file.
        mean: Mean of each channel, (C, 1, 1), on the device.
        std: Standard deviation of each channel, (C, 1, 1), on the device.
        large: Whether the images are too many to be copied.
    """

    values: Tensor
    mean: Tensor
    std: Tensor
    large: bool

    def read(self, rows: Tensor) -> Tensor:
        """Return (values / 255 - mean) / std of some rows (n,), float32 (n, C, H, W)."""
        values = self.values[rows].to(self.mean.device)
        return (values.float() / 255 - self.mean) / self.std


class Images(Tensor):
    """A float32 tensor (N, C, H, W) of normalised images, each computed when it is read.

    `images[rows]` and `images.split(size)` compute these rows only, and leave the others as they
    are. Any other operation of torch computes all rows first.

    Args:
        pixels: The data set.
        rows: int64 (N,), the rows of the data set, on the device of `pixels.values`.
        seal: Checked at each read.
    """

    _pixels: Pixels
    _rows: Tensor
    _seal: Seal

    @staticmethod
    def __new__(cls, pixels: Pixels, rows: Tensor, seal: Seal) -> Images:
        shape = (len(rows), *pixels.values.shape[1:])
        images: Images = Tensor._make_wrapper_subclass(  # without memory of its own
            cls, shape, dtype=torch.float32, device=pixels.mean.device
        )
        images._pixels, images._rows, images._seal = pixels, rows, seal
        return images

    def __getitem__(self, index: Any) -> Tensor:
        if isinstance(index, np.ndarray | list):
            index = torch.as_tensor(index)
        if isinstance(index, Tensor):
            index = index.to(self._rows.device)
        elif not isinstance(index, slice | int):
            return self.read()[index]
        return self.at(self._rows[index])

    def at(self, rows: Tensor) -> Tensor:
        """Return rows of the data set by their numbers in `pixels`, as a plain tensor."""
        self._seal.check()
        return self._pixels.read(rows)

    def split(self, size: int | Sequence[int], dim: int = 0) -> Sequence[Tensor]:
        """Return parts of one size, or of the sizes given, each of which is read when it is used.

        Args:
            size: Rows a part.
            dim: As of `torch.split`; all images are read at once unless it is 0.
        """
        if dim != 0:
            return torch.split(self.read(), size, dim)  # type: ignore[arg-type]
        parts = self._rows.split(size if isinstance(size, int) else list(size))
        return _Parts(self, parts)

    def read(self) -> Tensor:
        """Return all images as a plain tensor."""
        return self[:]

    def choose(self, rows: Tensor) -> Images:
        """Return the images with these numbers (n,), in their order, without reading any."""
        return Images(self._pixels, self._rows[rows.to(self._rows.device)], self._seal)

    def granted(self, rows: Tensor) -> Images:
        """Return the images with these numbers (n,) for a method: readable under any seal.

        They are a copy that holds no other image, unless the pixels are too many to be copied.
        """
        pixels, rows = self._pixels, self._rows[rows.to(self._rows.device)]
        if not pixels.large:
            pixels = replace(pixels, values=pixels.values[rows])
            rows = torch.arange(len(rows), device=rows.device)
        return Images(pixels, rows, Seal())

    def __deepcopy__(self, memo: object) -> Images:
        """Return this object: nothing changes it."""
        return self

    @classmethod
    def __torch_function__(
        cls,
        function: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a function of torch on plain tensors, which are read here unless it needs none."""
        if function not in _ABOUT:
            args, kwargs = tree.tree_map(_read, (args, dict(kwargs or {})))
        with torch._C.DisableTorchFunctionSubclass():
            return function(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls,
        function: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call an operator that was reached from C++ on plain tensors."""
        args, kwargs = tree.tree_map(_read, (args, dict(kwargs or {})))
        return function(*args, **kwargs)


def choose(images: Tensor, rows: Tensor) -> Tensor:
    """Return the images with these numbers (n,); if they are a data set's, none is read."""
    return images.choose(rows) if isinstance(images, Images) else images[rows]


def _read(value: Any) -> Any:
    return value.read() if isinstance(value, Images) else value


def _getter(name: str) -> Any:
    return getattr(Tensor, name).__get__


# What can be said of the images without reading any.
_ABOUT = {
    *(Tensor.size, Tensor.dim, Tensor.numel, Tensor.__len__, Tensor.is_floating_point),
    *map(_getter, ("shape", "ndim", "dtype", "device", "is_cuda", "requires_grad")),
}


class _Parts(Sequence[Tensor]):
    """Consecutive parts of some images; each is read when it is indexed."""

    def __init__(self, images: Images, parts: Sequence[Tensor]) -> None:
        self._images, self._parts = images, parts

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, index: Any) -> Any:
        part = self._parts[index]
        if isinstance(part, Tensor):
            return self._images.at(part)
        return _Parts(self._images, part)
