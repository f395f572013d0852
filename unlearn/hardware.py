"""Device, precision, memory format and determinism of a run."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils import _pytree as tree

from unlearn.config.schema import HardwareConfig
from unlearn.errors import ConfigError

Network = TypeVar("Network", bound=nn.Module)

# Parameters of glibc's mallopt: bytes of free memory to keep, and the size of a block that is never
# kept (the largest that glibc accepts).
_MALLOC = {-1: 2**30, -3: 2**25}
_LEAST_SIDE = 32  # pixels of a colour image from which bfloat16 pays
_FAST = {"avx512_bf16", "amx_bf16"}  # flags of processors that multiply in bfloat16
ROWS = (
    256  # images of a forward pass without gradients, so that activations fit into a core's cache
)


@dataclass(frozen=True)
class Hardware:
    """Places networks and images, and opens the autocast region.

    Args:
        device: Device of all computations.
        autocast_dtype: Precision of convolutions and matrix products; None: float32.
        channels_last: Whether networks and images use the channels-last memory format.
        compile_mode: Mode of torch.compile for the loss functions; None: they are not compiled.
    """

    device: torch.device
    autocast_dtype: torch.dtype | None = None
    channels_last: bool = False
    compile_mode: str | None = None

    @classmethod
    def start(cls, config: HardwareConfig, shape: tuple[int, int, int]) -> Hardware:
        """Apply the process-wide settings, and choose what they leave to `auto`.

        Precision and memory format follow from the machine and the images, and are never timed.

        Args:
            config: The settings.
            shape: Channels, height and width of an image.

        Raises:
            ConfigError: If a GPU is asked for and there is none.
        """
        available = torch.cuda.is_available()
        if config.device == "cuda" and not available:
            raise ConfigError("hardware.device", "cuda", "no CUDA GPU here; allowed are auto, cpu")
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        if config.deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        if config.compile:
            torch.use_deterministic_algorithms(config.deterministic, warn_only=True)
        else:  # the same without importing the compiler, which takes a second
            torch.set_deterministic_debug_mode("warn" if config.deterministic else "default")
        # Filling fresh memory costs time and helps debugging only.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.backends.cudnn.benchmark = not config.deterministic
        _keep_freed_memory()
        name = config.device if config.device != "auto" else "cuda" if available else "cpu"
        pays = _is_large(shape) and multiplies_in_bfloat16(name)
        precision = ("bfloat16" if pays else None) if config.autocast == "auto" else config.autocast
        return cls(
            device=torch.device(name),
            autocast_dtype=getattr(torch, precision) if precision else None,
            channels_last=pays if config.channels_last == "auto" else config.channels_last,
            compile_mode=_mode(config.compile),
        )

    def describe(self) -> dict[str, str | int | bool | None]:
        """Return what was chosen, as plain values for the record."""
        precision = str(self.autocast_dtype or torch.float32).removeprefix("torch.")
        return {
            "device": self.device.type,
            "precision": precision,
            "channels_last": self.channels_last,
            "compile": self.compile_mode,
            "threads": torch.get_num_threads(),
        }

    def describe_arithmetic(self) -> list[str | int | bool | None]:
        """Return what decides the last bits of every sum, as plain values.

        On a CPU the number of threads does, because each thread sums a part. On a GPU the choice
        between deterministic and faster kernels does.
        """
        on_gpu = self.device.type == "cuda"
        return [
            torch.__version__,
            self.device.type,
            str(self.autocast_dtype),
            self.channels_last,
            self.compile_mode,
            torch.are_deterministic_algorithms_enabled() if on_gpu else torch.get_num_threads(),
        ]

    def place(self, network: Network) -> Network:
        """Move a network to the device, in the memory format."""
        if self.channels_last:
            network.to(memory_format=torch.channels_last)
        return network.to(self.device)

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Compile a function of networks and tensors of fixed shapes, if the settings say so.

        Under CUDA graphs the compiled function returns copies, which the caller may keep.
        """
        if self.compile_mode is None:
            return function
        torch.compiler.reset()  # of functions of earlier runs: each kind is compiled a few times
        compiled = torch.compile(function, mode=self.compile_mode, dynamic=False)
        if self.compile_mode == "default":
            return compiled
        return lambda *arguments: tree.tree_map(torch.clone, compiled(*arguments))

    def run(self, network: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
        """Run a network in the configured precision and memory format.

        Args:
            network: A module, or another function of one tensor.
            inputs: Images (B, C, H, W), or features of any other shape.

        Returns:
            The network's output as float32.
        """
        with self.autocast():
            return network(self.layout(inputs) if inputs.dim() == 4 else inputs).float()

    def layout(self, images: Tensor) -> Tensor:
        """Return images (B, C, H, W) in the memory format."""
        if self.channels_last:
            return images.contiguous(memory_format=torch.channels_last)
        return images

    def autocast(self) -> AbstractContextManager[None]:
        """Return the autocast context in which networks are run."""
        return torch.autocast(
            self.device.type, dtype=self.autocast_dtype, enabled=self.autocast_dtype is not None
        )


def _keep_freed_memory() -> None:
    """Let the C library keep freed memory for the next step, where it is glibc.

    By default it gives large blocks back to the system and asks for them again. The system then
    fills each page with zeros, which takes longer than many a layer.
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        for parameter, size in _MALLOC.items():
            library.mallopt(parameter, size)


def _is_large(shape: tuple[int, int, int]) -> bool:
    """Whether images are so large that bfloat16 pays: on smaller or grey ones it saves little."""
    return shape[0] > 1 and min(shape[1:]) >= _LEAST_SIDE


def multiplies_in_bfloat16(device: str) -> bool:
    """Return whether a device, `cpu` or `cuda`, has instructions that multiply in bfloat16."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return False
    flags = next((line for line in lines if line.startswith("flags")), "")
    return not _FAST.isdisjoint(flags.split())


def _mode(setting: bool | str) -> str | None:
    if isinstance(setting, str):
        return setting
    return "default" if setting else None
