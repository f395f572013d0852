"""The protocol of a filter."""

from typing import Protocol

from torch import Tensor


class Filter(Protocol):
    """Gives generated samples row weights by the teacher's logits on them.

    An implementation keeps shapes fixed (no boolean indexing) and never waits for the device, so
    that the loops that call it can be compiled.
    """

    def __call__(self, logits: Tensor, forget: Tensor) -> Tensor:
        """Map logits to row weights.

        Args:
            logits: Logits of the teacher, float (B, K).
            forget: Bool (K,), true at the classes to forget.

        Returns:
            Row weights, float (B,), in [0, 1]; 0 drops a row.
        """
        ...
