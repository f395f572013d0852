"""torch's optimisers without its compiler.

torch marks the methods of its optimisers for `torch.compile`. The first call of a marked method
imports the compiler, which takes longer than half of importing torch. Nothing here compiles an
optimiser's step, so these classes call the methods below the marks.
"""

from inspect import unwrap
from typing import Any

import torch
from torch.optim import Optimizer


class _Unmarked(Optimizer):
    """Calls the methods of a torch optimiser as they are without `torch.compile`."""

    add_param_group = unwrap(Optimizer.add_param_group)
    zero_grad = unwrap(Optimizer.zero_grad)
    state_dict = unwrap(Optimizer.state_dict)
    load_state_dict = unwrap(Optimizer.load_state_dict)

    def step(self, closure: Any = None) -> Any:
        """Update the parameters by their gradients."""
        with torch.no_grad():
            return unwrap(super().step)(self, closure)


class SGD(_Unmarked, torch.optim.SGD):
    """`torch.optim.SGD`."""


class Adam(_Unmarked, torch.optim.Adam):
    """`torch.optim.Adam`."""


class AdamW(_Unmarked, torch.optim.AdamW):
    """`torch.optim.AdamW`."""
