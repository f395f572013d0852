"""What the stages of one run share: its config and parts, its record, and who is told of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from unlearn.config.hashing import digest
from unlearn.config.schema import RunConfig
from unlearn.errors import explain_full_disk
from unlearn.evaluation.cache import hash_module
from unlearn.files import report_damage, sync_tree
from unlearn.records.places import RESUME, TOLD
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

    @property
    def may_keep_images(self) -> bool:
        """Whether images of the forget classes may be stored.

        Without data a run usually answers a deletion request: they are stored only if asked for.
        """
        asked = self.config.evaluation.pictures
        return self.parts.data is not None if asked is None else asked

    def notify(self, step: Step) -> None:
        """Tell all observers of a step."""
        for observer in self.observers:
            observer.step(step)

    def keep_told(self, role: str) -> None:
        """Keep the steps told of a network's training, or tell those that an attempt has kept.

        Without this a killed run would lose the training from its history: the next attempt finds
        the network in the cache.
        """
        file = self.folder / TOLD
        if role in self.history.stages():
            steps = self.history.plain()
            write_json(file, {"steps": steps, "digest": digest(steps)})
            return
        try:
            told = json.loads(file.read_text())
            if digest(told["steps"]) != told["digest"]:
                raise ValueError("not what was written")
            kept = [Step(**step) for step in told["steps"]]
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError, KeyError) as error:
            report_damage(file, str(error), "the history lacks what it kept")
            return
        for step in kept:
            if step.stage == role:
                self.notify(step)

    def open_resume_file(self, folder: Path, *parts: object) -> ResumeFile:
        """Return the file in which a loop of this run keeps its state.

        Args:
            folder: The file's folder.
            parts: Objects whose state is kept. If the source file of one of their classes has
                changed since, the loop starts anew.
        """
        code = {type(part).__module__: hash_module(type(part).__module__)[1] for part in parts}
        every, versions = self.config.checkpoint_every, self.record["versions"]
        return ResumeFile(folder / RESUME, every, {**versions, "code": code})

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
        with self.catching():  # the record vouches for the other files: they come first
            sync_tree(self.folder)
        with self.catching():
            write_json(self.folder / RECORD, self.record)
        if not self.errors:  # a failed run keeps its checkpoint: another attempt goes on from it
            self.open_resume_file(self.folder).remove()
            (self.folder / TOLD).unlink(missing_ok=True)
