"""Sizes of the batches of one epoch."""


def batch_sizes(count: int, size: int) -> list[int]:
    """Return the size of each batch of one epoch, in order.

    All batches have `size` rows, except that the last one holds the remainder. A remainder of one
    row joins the batch before it, because batch norm in train mode needs two values a channel.

    Args:
        count: Number of rows, 0 or more.
        size: Rows a batch, 1 or more.
    """
    whole, left = divmod(count, size)
    if left == 1 and whole and size > 1:
        return [size] * (whole - 1) + [size + 1]
    return [size] * whole + [left] * (left > 0)
