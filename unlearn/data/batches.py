"""How rows are cut into batches."""

from __future__ import annotations


def batch_sizes(count: int, size: int) -> list[int]:
    """How many rows each batch of one pass over `count` rows has, in order.

    All have `size` but the last, which has what is left. A single row that is left goes into the
    batch before it: batch norm in train mode cannot take one value a channel.
    """
    whole, left = divmod(count, size)
    if left == 1 and whole and size > 1:
        return [size] * (whole - 1) + [size + 1]
    return [size] * whole + [left] * (left > 0)
