"""A batch that does not fit into memory: one line with the key and a size that fits."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.command_line import TINY, surroundings

# Runs `unlearn` with 800 MB more of address space than its imports take.
LIMITED = """
import resource, sys
import torch, torch.fx.experimental.proxy_tensor, unlearn.runner.run, unlearn.runner.table
from unlearn.__main__ import main
torch.ones(64, 64) @ torch.ones(64, 64)
held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + 800 * 2**20, -1))
main()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_size_that_fits_is_named_and_fits(tmp_path: Path) -> None:
    def run(size: int) -> subprocess.CompletedProcess[str]:
        words = [*TINY, f"method.batch_size={size}", "force=true", "training.batch_size=64"]
        return subprocess.run(
            [sys.executable, "-c", LIMITED, *words],
            cwd=tmp_path,
            env=surroundings(),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    done = run(500_000)
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    found = re.search(r"method\.batch_size=500000: .* about (\d+) would", line)
    assert found is not None, done.stderr
    assert 100 < int(found[1]) < 500_000
    assert run(int(found[1])).returncode == 0
