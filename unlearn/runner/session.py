"""What the stages of one run share: its config and parts, its record, and who is told of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from unlearn.config.schema import RunConfig
from unlearn.errors import explain_full_disk
from unlearn.records.record import RECORD, write_json
from unlearn.resume import ResumeFile
from unlearn.runner.build import Parts
from unlearn.tracking.base import Observer, Step
from unlearn.tracking.history import History


@dataclass(frozen=True)
class Session:
    """One run on its way.

    Args:
        config: The run.
        parts: Everything that was built from the config.
        record: The run's record; each stage adds its figures.
        folder: The folder in which the run directory is being filled.
        history: Keeps every step.
        errors: What went wrong so far, in order; the run is complete if there is nothing.
    """

    config: RunConfig
    parts: Parts
    record: dict[str, Any]
    folder: Path
    history: History = field(default_factory=History)
    errors: list[Exception] = field(default_factory=list)

    @property
    def observers(self) -> list[Observer]:
        """Everyone who is told of the run; the history is the last."""
        return [*self.parts.observers, self.history]

    def notify(self, step: Step) -> None:
        """Tell all observers of a step."""
        for observer in self.observers:
            observer.step(step)

    def open_resume_file(self, folder: Path) -> ResumeFile:
        """Return the file in `folder` in which a loop of this run keeps its state."""
        every, versions = self.config.checkpoint_every, self.record["versions"]
        return ResumeFile(folder / "resume.pt", every, versions)

    @contextmanager
    def catching(self) -> Iterator[None]:
        """Record an error of the block as the run's failure, and go on after the block."""
        try:
            yield
        except Exception as error:
            self.errors.append(explain_full_disk(error, self.config.outputs))
            error_line = f"{type(error).__name__}: {self.errors[0]}"
            self.record.update(status="failed", error=self.record["error"] or error_line)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Open the observers, and write the record whether or not the block succeeds."""
        began = time.perf_counter()
        with self.catching():
            for observer in self.observers:
                observer.start(self.config, self.folder, self.record["config_hash"])
            OmegaConf.save(OmegaConf.create(self.config.plain()), self.folder / "config.yaml")
            yield
        self.record["status"] = "failed" if self.errors else "complete"
        self.record["seconds"]["total"] = time.perf_counter() - began
        for observer in self.observers:
            with self.catching():
                observer.finish(self.record, self.folder)
        # The observers may take a minute, in which the run may be killed: until then it can resume.
        self.open_resume_file(self.folder).remove()
        with self.catching():
            write_json(self.folder / RECORD, self.record)
