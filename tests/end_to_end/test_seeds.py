"""Several seeds and forget classes in one process: each record is that of a lone run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file

from tests.helpers.command_line import TINY, Cli, record_in

SEVERAL = ["seeds=[0,1]", "forget_sets=[[0],[3]]"]


def found(outputs: Path) -> dict[str, Path]:
    """Run directories by their own name, which holds forget classes, seed and config hash."""
    paths = sorted(outputs.rglob("record.json"))
    return {f"{path.parent.parent.name}/{path.parent.name}": path.parent for path in paths}


_OF_THE_PROCESS = ("seconds", "peak_memory", "versions", "config", "command")


def figures(directory: Path) -> dict[str, Any]:
    record = record_in(directory)
    return {k: v for k, v in record.items() if k not in _OF_THE_PROCESS}


@pytest.fixture
def alone(cli: Cli, tmp_path: Path) -> dict[str, Path]:
    done = cli("-m", *TINY, "seed=0,1", "forget=[0],[3]", "outputs=alone")
    assert done.returncode == 0, done.stderr
    return found(tmp_path / "alone")


def test_in_turn_every_record_is_the_lone_one(
    cli: Cli, tmp_path: Path, alone: dict[str, Path]
) -> None:
    done = cli(*TINY, *SEVERAL, "outputs=together", "stack=false")
    assert done.returncode == 0, done.stderr
    together = found(tmp_path / "together")
    assert together.keys() == alone.keys()
    assert len(together) == 4
    for name, directory in together.items():
        assert figures(directory) == figures(alone[name])
        config, other = (
            yaml.safe_load((d / "config.yaml").read_text()) for d in (directory, alone[name])
        )
        assert record_in(directory)["command"][-2:] == [
            f"forget={record_in(directory)['forget']}".replace(" ", ""),
            f"seed={record_in(directory)['seed']}",
        ]
        assert config | {"outputs": "alone", "stack": "auto"} == other


def test_stacked_every_student_is_the_lone_one(
    cli: Cli, tmp_path: Path, alone: dict[str, Path]
) -> None:
    """Teachers from the cache of the lone runs: training them anew would blow up its rounding."""
    (tmp_path / "together").mkdir()
    (tmp_path / "alone" / "cache").rename(tmp_path / "together" / "cache")
    done = cli(*TINY, *SEVERAL, "outputs=together", "stack=true")
    assert done.returncode == 0, done.stderr
    for name, directory in found(tmp_path / "together").items():
        record, other = record_in(directory), record_in(alone[name])
        assert record["config_hash"] == other["config_hash"]
        assert record["status"] == "complete"
        student = load_file(directory / "student.safetensors")
        for key, value in load_file(alone[name] / "student.safetensors").items():
            torch.testing.assert_close(student[key], value, rtol=1e-3, atol=1e-4)
    seconds = {record_in(d)["seconds"]["unlearn"] for d in found(tmp_path / "together").values()}
    assert len(seconds) == 1, "one computation, shared out"


def test_stacked_from_nothing_and_then_nothing_to_do(cli: Cli, tmp_path: Path) -> None:
    done = cli(*TINY, "seeds=[0,1]", "stack=true")
    assert done.returncode == 0, done.stderr
    records = [record_in(d) for d in found(tmp_path / "outputs").values()]
    assert [record["seed"] for record in records] == [0, 1]
    for record in records:
        assert record["accuracy"]["original"]["test"]["retain"] > 30, "two epochs of training"
        assert record["accuracy"]["retrained"]["test"]["forget"] == 0
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "outputs").rglob("record.json")}
    again = cli(*TINY, "seeds=[0,1]", "stack=true")
    assert again.returncode == 0, again.stderr
    assert {p: p.stat().st_mtime_ns for p in before} == before


def test_one_member_fails_and_the_others_are_recorded(cli: Cli, tmp_path: Path) -> None:
    """A metric of the user's own that cannot take seed 1."""
    (tmp_path / "picky.py").write_text(
        "class Picky:\n"
        "    needs_data = False\n"
        "    def __call__(self, models, setting):\n"
        "        if self.odd(setting): raise ValueError('not this one')\n"
        "        return {'value': 1.0}\n"
        "    def odd(self, setting):\n"
        "        return 'seed-1-' in str(setting.figures)\n"
    )
    done = cli(*TINY, "seeds=[0,1,2]", "+evaluation.metrics.picky._target_=picky.Picky")
    assert done.returncode == 1
    assert "ValueError: not this one" in done.stderr
    assert "1 of 3 runs failed" in done.stderr
    records = [record_in(d) for d in found(tmp_path / "outputs").values()]
    assert [r["status"] for r in records] == ["complete", "failed", "complete"]
    assert "not this one" in records[1]["error"]


def test_what_fails_together_begins_anew_alone(cli: Cli, tmp_path: Path) -> None:
    """From nothing: a checkpoint names its loop as the next process will."""
    (tmp_path / "shaky.py").write_text(
        "import copy\n"
        "from unlearn.protocol import State, lone\n"
        "class Shaky:\n"
        "    access = 'none'\n"
        "    def unlearn(self, request, data):\n"
        "        return lone(self.unlearn_together([request]))\n"
        "    def unlearn_together(self, requests):\n"
        "        student, progress = copy.deepcopy(requests[0].teacher), requests[0].progress\n"
        "        for step in progress.steps('loop', 2, dict):\n"
        "            if len(requests) > 1 and step == 2: raise ValueError('not together')\n"
        "            scalars = {'depth': len(progress._open)}\n"
        "            yield [State('loop', step, 2, student, scalars) for _ in requests]\n"
    )
    tiny = [word for word in TINY if not word.startswith("method")]
    done = cli(*tiny, "seeds=[0,1]", "stack=true", "method._target_=shaky.Shaky")
    assert done.returncode == 0, done.stderr
    directories = found(tmp_path / "outputs").values()
    assert len(directories) == 2
    for directory in directories:
        history = pd.read_parquet(directory / "history.parquet")
        loop = history[history["stage"] == "loop"]
        assert loop["step"].tolist() == [1, 2]
        assert loop["depth"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["seeds=[1,1]"], "seeds=[1, 1]: names one twice"),
        (["seeds=[]"], "seeds=[]: "),
        (["forget_sets=[[0],[10]]"], "forget=[10]: "),
        (["forget_sets=[[0],[0]]"], "forget_sets=[[0], [0]]: names one twice"),
        (["forget_sets=[[0,1],[1,0]]"], "forget_sets=[[0, 1], [1, 0]]: names one twice"),
        (["seeds=[0,1]", "run_dir=here"], "run_dir=here: must be null with several runs"),
        (["seeds=[0,1]", "method.selection=oracle", "evaluation.every=2"], "is run alone"),
        (["stack=maybe"], "stack"),
    ],
)
def test_bad_input(cli: Cli, tmp_path: Path, arguments: list[str], message: str) -> None:
    done = cli(*TINY, *arguments)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert message in line
    assert not (tmp_path / "outputs").exists()
