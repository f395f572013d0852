"""How rows are cut into batches: none lost, and none alone where it could be with others."""

import pytest

from unlearn.data.batches import batch_sizes


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
