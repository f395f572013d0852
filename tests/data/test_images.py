"""Normalised images that are computed when they are read."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from unlearn.data.images import DataContractError, Images, Pixels, Seal

VALUES = torch.randint(0, 256, (7, 3, 4, 5), dtype=torch.uint8)
MEAN = torch.tensor([0.1, 0.5, 0.7]).view(-1, 1, 1)
STD = torch.tensor([0.2, 0.25, 0.5]).view(-1, 1, 1)
ROWS = torch.tensor([6, 0, 2, 3])
EXPECTED = ((VALUES.float() / 255 - MEAN) / STD)[ROWS]


def lazy(large: bool = False, seal: Seal | None = None) -> Images:
    return Images(Pixels(VALUES, MEAN, STD, large), ROWS, seal or Seal())


@pytest.mark.parametrize(
    "index",
    [
        torch.tensor([3, 0, 0]),
        torch.tensor([True, False, True, False]),
        slice(1, 3),
        slice(None),
        2,
        [1, 2],
        (slice(None), 0, 1),
        None,
    ],
    ids=str,
)
def test_an_index_gives_the_bits_of_the_formula(index: object) -> None:
    found = lazy()[index]
    assert type(found) is Tensor
    assert torch.equal(found, EXPECTED[index])


OPERATIONS: dict[str, Callable[[Tensor], object]] = {
    "arithmetic": lambda images: images * 2 + 1,
    "reflected": lambda images: 1 - images,
    "reduction": lambda images: images.mean(dim=(0, 2, 3)),
    "function": lambda images: torch.cat([images, images[:1]]),
    "method": lambda images: images.flatten(1),
    "network": nn.Conv2d(3, 2, 3).requires_grad_(False),
    "split by channel": lambda images: torch.cat(list(images.split(1, dim=1)), dim=1),
    "numbers": lambda images: torch.as_tensor(images.tolist()),
    "array": lambda images: torch.from_numpy(images.numpy()),
    "transposed": lambda images: images.mT,
    "iterated": lambda images: torch.stack(list(images)),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_other_operations_see_a_plain_tensor(name: str) -> None:
    operation = OPERATIONS[name]
    assert torch.equal(torch.as_tensor(operation(lazy())), torch.as_tensor(operation(EXPECTED)))


def test_it_looks_like_the_tensor_that_it_stands_for() -> None:
    images = lazy()
    assert isinstance(images, Tensor)
    assert (images.shape, images.dtype, images.device) == (
        EXPECTED.shape,
        torch.float32,
        EXPECTED.device,
    )
    assert len(images) == images.size(0) == 4
    assert images.ndim == images.dim() == 4


@pytest.mark.parametrize("size", [1, 3, [1, 3]])
def test_parts_are_read_one_by_one(size: int | list[int]) -> None:
    seal = Seal()
    parts, expected = lazy(seal=seal).split(size), EXPECTED.split(size)
    assert len(parts) == len(expected)
    assert all(torch.equal(*pair) for pair in zip(parts, expected, strict=True))
    seal.closed = True
    with pytest.raises(DataContractError):
        _ = parts[0]


def test_a_choice_of_rows_is_read_later() -> None:
    seal = Seal(closed=True)
    chosen = lazy(seal=seal).choose(torch.tensor([2, 1]))
    with pytest.raises(DataContractError):
        _ = chosen + 1
    seal.closed = False
    assert torch.equal(chosen[:], EXPECTED[[2, 1]])


@pytest.mark.parametrize("large", [False, True])
def test_granted_images_are_readable_under_the_seal(large: bool) -> None:
    granted = lazy(large, Seal(closed=True)).granted(torch.tensor([1, 3]))
    assert torch.equal(granted[:], EXPECTED[[1, 3]])
    assert torch.equal(copy.deepcopy(granted)[:], EXPECTED[[1, 3]])
    with pytest.raises(IndexError):
        _ = granted[torch.tensor([2])]
