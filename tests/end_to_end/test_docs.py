"""Every command in docs/ runs: the pages' files are written, their commands typed, in order."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```(\w+)(?: title=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = ["sweep.md", "add_a_method.md", "report.md"]


def play(page: Path, folder: Path) -> list[tuple[str, subprocess.CompletedProcess[str]]]:
    """Write the files of a page into a folder, and run its commands there, in their order."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
    }
    done = []
    for language, title, text in BLOCK.findall(page.read_text()):
        if title:
            (folder / title).parent.mkdir(parents=True, exist_ok=True)
            (folder / title).write_text(text)
        elif language == "bash":
            run = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", text],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=600,
                check=False,
            )
            done.append((text, run))
    return done


def test_no_page_is_left_out() -> None:
    assert {path.name for path in DOCS.glob("*.md")} == {*PAGES, "slurm.md"}


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_every_command_of_a_page_runs(tmp_path: Path, name: str) -> None:
    done = play(DOCS / name, tmp_path)
    assert done
    for text, run in done:
        assert run.returncode == 0, f"{text}\n{run.stdout[-2000:]}\n{run.stderr[-4000:]}"
    said = {text.split("\n")[0]: run for text, run in done}
    if name == "sweep.md":
        plans = [run.stderr for text, run in done if "launch=plan" in text]
        assert "8 runs: 8 new" in plans[0]
        assert "150 runs: 150 new" in plans[1]
        again = next(run for text, run in said.items() if "range(0,3)" in text)
        assert "12 runs: 8 done, 4 new" in again.stderr
        assert "best proxy.score" in done[-1][1].stderr
    if name == "add_a_method.md":
        assert "mask" in done[-1][1].stdout
