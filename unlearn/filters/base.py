"""What a filter is."""

from typing import Protocol

from torch import Tensor


class Filter(Protocol):
    """Weighs generated samples by what the teacher says of them.

    An implementation keeps shapes fixed (weights, no boolean indexing) and never waits for the
    device, so that the loops that call it can be compiled.
    """

    def __call__(self, logits: Tensor, forget: Tensor) -> Tensor:
        """Map logits to row weights.

        Args:
            logits: of the teacher, float (B, K).
            forget: bool (K,), true at the classes to forget.

        Returns:
            float (B,) in [0, 1]; 0 drops a row.
        """
        ...
