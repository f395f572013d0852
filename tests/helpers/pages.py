"""The pages of docs/ as programs: their files are written, and their commands run, in order."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.helpers.paths import DOCS

_BLOCK = re.compile(r'^```(\w+)(?: title="?([^"\s]+)"?)?\n(.*?)^```$', re.MULTILINE | re.DOTALL)

Played = list[tuple[str, subprocess.CompletedProcess[str]]]


def write_files(name: str, folder: Path) -> None:
    """Write the titled blocks of a page into a folder.

    Args:
        name: path of the page below docs/.
        folder: where the files go, under their titles.
    """
    for _, title, text in _BLOCK.findall((DOCS / name).read_text()):
        if title:
            (folder / title).parent.mkdir(parents=True, exist_ok=True)
            (folder / title).write_text(text)


def play(name: str, folder: Path, **environment: str) -> Played:
    """Write the titled blocks of a page into a folder and run its bash blocks there.

    Args:
        name: path of the page below docs/.
        folder: where the files go and the commands run.
        environment: variables that the commands see besides those of this process.

    Returns:
        Each bash block and what came of it; every one has ended with status 0.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    write_files(name, folder)
    done = []
    for language, _, text in _BLOCK.findall((DOCS / name).read_text()):
        if language != "bash":
            continue
        run = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=folder,
            env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", **environment},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert run.returncode == 0, f"{text}\n{run.stdout[-2000:]}\n{run.stderr[-4000:]}"
        done.append((text, run))
    assert done, f"{name} holds no command"
    return done
