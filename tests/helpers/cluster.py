"""What the tests on a real SLURM share: runs that can be met half-way, and a user's view of it."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.helpers.command_line import TINY, command

# GKT, in no hurry to forget class 0: such runs, the first of the grid, can be met half-way, and
# leave the cores to others meanwhile.
SLOW = """
import time
from unlearn.methods.gkt import GatedKnowledgeTransfer

class Slow(GatedKnowledgeTransfer):
    def unlearn(self, request, data):
        for state in super().unlearn(request, data):
            time.sleep(0.2 * (request.forget == (0,)))
            yield state
"""
QUICK = [*(a for a in TINY if "iterations" not in a), "method.iterations=60"]
SLOWLY = [*QUICK, "method._target_=slow.Slow", "checkpoint_every=0"]
GRID = ["forget=[0],[1],[2]", "method.start=0.2,0.4,0.6,0.8"]
ON_CPU = ["hydra/launcher=slurm_cpu", "hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_gb=1"]


@dataclass
class Cluster:
    """The node, a user's folder on it, and a log of what happens there."""

    node: Path
    home: Path
    began: float = field(default_factory=time.monotonic)

    @property
    def environment(self) -> dict[str, str]:
        conf = str(self.node / "slurm.conf")
        return {**os.environ, "SLURM_CONF": conf, "OMP_NUM_THREADS": "1"}

    def say(self, line: str) -> None:
        print(f"{time.monotonic() - self.began:6.1f} s  {line}", flush=True)

    def call(self, *words: str) -> str:
        self.say("$ " + " ".join(words))
        done = subprocess.run(
            words, cwd=self.home, env=self.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, (words, done.stderr, self.states())
        return done.stdout

    @contextmanager
    def signal(self, job: str) -> Iterator[None]:
        """Send what SLURM sends before the time is over.

        SLURM 22.05 signals the job, yet may answer that it could not, and scancel tries again.
        """
        self.say(f"$ scancel --signal=USR2 {job}")
        words = ["scancel", "--signal=USR2", job]
        process = subprocess.Popen(words, env=self.environment, stderr=subprocess.DEVNULL)
        try:
            yield
        finally:
            process.kill()
            process.wait()

    def launch(self, *arguments: str) -> subprocess.Popen[str]:
        self.say("$ unlearn " + " ".join(a for a in arguments if a not in SLOWLY))
        with (self.home / "launch.log").open("w") as log:
            return subprocess.Popen(
                command(*arguments), cwd=self.home, env=self.environment, stdout=log, stderr=log
            )

    def told(self) -> str:
        return (self.home / "launch.log").read_text()

    def states(self) -> dict[str, str]:
        """Job number (of array and task) -> state, of all that SLURM knows."""
        words = ["squeue", "--array", "--noheader", "--states=all", "--format=%F_%K %T"]
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True)
        return dict(line.split() for line in done.stdout.splitlines())

    def until(self, what: str, reached: Callable[[], Any], seconds: float = 120) -> Any:
        """Wait for something; fail with the queue and the launch's words if it does not come."""
        deadline = time.monotonic() + seconds
        while not (found := reached()):
            assert time.monotonic() < deadline, f"waited for {what}: {self.states()}\n{self.told()}"
            time.sleep(0.2)
        queue = " ".join(f"{j}:{s}" for j, s in sorted(self.states().items()) if s != "COMPLETED")
        self.say(f"{what}; queue: {queue or 'empty'}")
        return found

    def running(self) -> dict[str, Path]:
        """Jobs whose run has a checkpoint by now -> the hidden folder of the run."""
        found = {}
        for job, state in self.states().items():
            part = self.part_of(job)
            if state == "RUNNING" and part is not None and (part / "resume.pt").exists():
                found[job] = part
        return found

    def part_of(self, job: str) -> Path | None:
        """The hidden folder of the run that a task of the grid does."""
        classes, starts = (a.split("=")[1].split(",") for a in GRID)
        task = job.split("_")[1]
        if not task.isdigit():
            return None
        forget, start = divmod(int(task), len(starts))
        folder = self.home / "outputs" / "digits-lenet" / "gkt" / f"forget-{classes[forget][1]}"
        for part in folder.glob(".*.partial"):
            record = json.loads((part / "record.json").read_text())
            if record["config"]["method"]["start"] == float(starts[start]):
                return part
        return None

    def records(self, outputs: str = "outputs") -> list[Path]:
        return sorted(self.home.glob(f"{outputs}/digits-lenet/gkt/forget-*/seed-*/record.json"))


def two(running: dict[str, Path]) -> dict[str, Path] | None:
    """The running jobs if they are two."""
    return running if len(running) == 2 else None
