"""A method in a package of the user's own, installed beside this one, is run and ranked."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.helpers.command_line import Cli, record_in
from tests.helpers.paths import ROOT

METHOD = '''
"""Turns the last layer's biases of the forget classes down."""

import copy
from dataclasses import dataclass

import torch
from unlearn.protocol import State


@dataclass(frozen=True, kw_only=True)
class Hush:
    depth: float

    @property
    def access(self):
        return "none"

    def unlearn(self, request, data):
        assert data is None
        student = copy.deepcopy(request.teacher)
        head = [m for m in student.modules() if isinstance(m, torch.nn.Linear)][-1]
        with torch.no_grad():
            head.bias[list(request.forget)] -= self.depth
        yield State("hush", 1, 1, student)
'''
FILES = {
    "their_package/__init__.py": '"""Somebody else\'s methods."""\n',
    "their_package/hush.py": METHOD,
    "their_package/conf/__init__.py": "",
    "their_package/conf/method/hush.yaml": (
        "_target_: their_package.hush.Hush\nname: hush\ndepth: 50.0\n"
    ),
    "their_package-1.2.dist-info/METADATA": (
        "Metadata-Version: 2.1\nName: their-package\nVersion: 1.2\nRequires-Dist: unlearn\n"
    ),
    "their_package-1.2.dist-info/WHEEL": (
        "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    ),
}
QUICK = ["experiment=[leaderboard/digits,quick]", "hardware.threads=1"]


def installed(folder: Path) -> Path:
    """Where pip has put a wheel of those files: no index is asked, and no build tool needed."""
    wheel = folder / "their_package-1.2-py3-none-any.whl"
    record = "their_package-1.2.dist-info/RECORD"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in FILES.items():
            archive.writestr(name, text)
        archive.writestr(record, "".join(f"{name},,\n" for name in [*FILES, record]))
    target = folder / "site"
    words = ["install", "--no-index", "--no-deps", "--target", str(target), str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", "-q", *words], check=True)
    return target


@pytest.mark.slow
def test_an_installed_method_is_run_and_ranked(cli: Cli, tmp_path: Path) -> None:
    path = f"{installed(tmp_path)}:{ROOT}"
    done = cli(
        *QUICK, "hydra.searchpath=[pkg://their_package.conf]", "method=hush,delete", PYTHONPATH=path
    )
    assert done.returncode == 0, done.stderr

    alone = ["method._target_=their_package.hush.Hush", "++method.depth=50.0"]
    done = cli(*alone, "experiment=debug", "model=lenet", "run_dir=alone", PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    record = record_in(tmp_path / "alone")
    assert (record["method"], record["access"]) == ("Hush", "none")
    assert record["config"]["method"] == {
        "_target_": "their_package.hush.Hush",
        "name": "Hush",
        "depth": 50.0,
    }
    assert record["accuracy"]["unlearned"]["test"]["forget"] == 0

    words = ["leaderboard", str(tmp_path / "outputs"), "--format", "csv"]
    board = subprocess.run(
        [sys.executable, "-m", "unlearn.report", *words],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    ).stdout
    rows = [line.split(",")[:6] for line in board.splitlines()]
    assert rows[1] == ["digits", "lenet", "none", "1", "hush", "1"]
    assert rows[2] == ["digits", "lenet", "forget", "1", "delete", "1"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["method._target_=their_package.hush.Nothing"], "method._target_"),
        (["method._target_=their_package.hush.Hush", "++method.width=3"], "method.width=3"),
    ],
)
def test_a_mistake_in_it_is_one_line(cli: Cli, tmp_path: Path, words: list[str], said: str) -> None:
    package = tmp_path / "their_package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "hush.py").write_text(METHOD)
    done = cli(*words, "model=lenet", PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr
