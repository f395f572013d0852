"""The forget gate of gated knowledge transfer."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class ForgetGate:
    """Keeps a row iff every forget class has probability at most `threshold`.

    The product over forget classes i of 1[softmax(T(x))_i <= epsilon] in "Zero-Shot Machine
    Unlearning" (Chundawat et al., 2023), section V.

    Args:
        threshold: Largest probability of a forget class (epsilon in the paper), in [0, 1].
    """

    threshold: float

    def __call__(self, logits: Tensor, forget: Tensor) -> Tensor:
        """Row weights (B,), 0 or 1; arguments as in `Filter`."""
        above = (logits.softmax(dim=1) > self.threshold) & forget
        return 1 - above.any(dim=1).to(logits.dtype)
