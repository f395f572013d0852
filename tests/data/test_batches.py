"""How rows are cut into batches: none lost, and none alone where it could be with others."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from unlearn.data.batches import batch_sizes
from unlearn.data.tensors import Split


@pytest.mark.parametrize(
    ("count", "size", "expected"),
    [
        (10, 4, [4, 4, 2]),
        (8, 4, [4, 4]),
        (9, 4, [4, 5]),
        (5, 4, [5]),
        (3, 4, [3]),
        (1, 4, [1]),
        (3, 1, [1, 1, 1]),
        (0, 4, []),
    ],
)
def test_sizes(count: int, size: int, expected: list[int]) -> None:
    assert batch_sizes(count, size) == expected


def test_batch_norm_can_take_every_batch_of_a_pass() -> None:
    rows = Split(torch.randn(9, 3, 1, 1), torch.arange(9))
    norm = nn.BatchNorm2d(3)
    seen = []
    for images, labels in rows.batches(4, torch.Generator().manual_seed(0)):
        assert norm(images).isfinite().all()
        seen += labels.tolist()
    assert sorted(seen) == list(range(9))
