"""Zero-shot machine unlearning of image classifiers.

`forget` unlearns classes of a network in memory, `run` does a whole run as the command line does,
and `load_records` reads finished runs. They are imported on first use: importing `unlearn` imports
neither torch nor Hydra.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unlearn.api import forget, load_records, run

__version__ = "0.2.0"
__all__ = ["__version__", "forget", "load_records", "run"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from unlearn import api

        return getattr(api, name)
    raise AttributeError(f"module 'unlearn' has no attribute '{name}'")
