"""Time the start of `unlearn`, to the first step of an optimiser, beside importing torch.

    python -m scripts.benchmark.start_up

It runs `unlearn`, which is cut off after its first training step, and `import torch, torchvision`
in turn, and prints the seconds of both and their ratio: once of the processor, which hardly depends
on other programs, and once of the clock. Words of `unlearn` may follow, as in `model=lenet`.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from torch.optim.optimizer import register_optimizer_step_post_hook

from unlearn.config.schema import RunConfig
from unlearn.tracking.base import Step

_ROUNDS = 5
_STOP = "+tracking.observers.stop._target_=scripts.benchmark.start_up.StopAtFirstStep"
_IMPORTS = ["-c", "import torch, torchvision"]


class StopAtFirstStep:
    """An observer that ends the process after the first step of any optimiser."""

    def start(self, config: RunConfig, directory: Path, config_hash: str) -> None:
        """Wait for the step."""
        register_optimizer_step_post_hook(lambda *_: os._exit(0))

    def step(self, step: Step) -> None:
        """Nothing: the process has ended."""

    def finish(self, record: Mapping[str, Any], directory: Path) -> None:
        """Nothing: the process has ended."""


def measure_start(words: Sequence[str], rounds: int = _ROUNDS) -> dict[str, tuple[float, float]]:
    """Run both programs in turn.

    Args:
        words: What is typed after `unlearn`.
        rounds: How often each program is run.

    Returns:
        Medians of the seconds of `unlearn` and of the imports, for `processor` and `clock`.
    """
    pairs = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            job = _run(["-m", "unlearn", _STOP, f"outputs={folder}", *words])
        pairs.append((job, _run(_IMPORTS)))
    return {
        name: (median(job[i] for job, _ in pairs), median(imports[i] for _, imports in pairs))
        for i, name in enumerate(("processor", "clock"))
    }


def _run(arguments: Sequence[str]) -> tuple[float, float]:
    """Return the seconds of processor and clock that Python takes for some arguments."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"python {' '.join(arguments)}: exited with {status}")
    return used.ru_utime + used.ru_stime, time.perf_counter() - began


if __name__ == "__main__":
    for name, (job, imports) in measure_start(sys.argv[1:]).items():
        print(f"{name}: {job:.2f} s against {imports:.2f} s, ratio {job / imports:.2f}")
