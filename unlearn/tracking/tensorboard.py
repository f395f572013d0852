"""TensorBoard observer."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn.config.schema import RunConfig
from unlearn.errors import ConfigError
from unlearn.tracking.base import Step

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class TensorBoard:
    """Writes every scalar and measured figure to the folder `tensorboard` of the run directory.

    Raises:
        ConfigError: If the package tensorboard is not installed.
    """

    def __init__(self) -> None:
        if find_spec("tensorboard") is None:
            raise ConfigError(
                "tracking", "tensorboard", "needs a package: pip install 'unlearn[tensorboard]'"
            )
        self._writer: SummaryWriter | None = None

    def start(self, config: RunConfig, directory: Path, config_hash: str) -> None:
        """Open the event file."""
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(directory / "tensorboard"))

    def step(self, step: Step) -> None:
        """Write the step's values, each under the name of its stage."""
        if self._writer is not None:
            for name, value in step.read().items():
                if value is not None:
                    self._writer.add_scalar(f"{step.stage}/{name}", value, step.step)

    def finish(self, record: Mapping[str, Any], directory: Path) -> None:
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()
        self._writer = None
