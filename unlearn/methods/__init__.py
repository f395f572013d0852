"""The unlearning methods, one file each."""

import sys

from unlearn import protocol

# Methods that were written for version 0.1 import their protocol from `unlearn.methods.base`.
sys.modules[f"{__name__}.base"] = protocol
