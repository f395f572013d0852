"""The record of a run is written last, and a run that failed keeps its checkpoint."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hydra import compose

from unlearn.config.resolve import resolve_config
from unlearn.config.schema import RunConfig
from unlearn.evaluation.cache import hash_module
from unlearn.records.places import RESUME, TOLD
from unlearn.records.record import read_record
from unlearn.records.template import new_record
from unlearn.resume import Progress
from unlearn.runner.build import Parts
from unlearn.runner.session import Session
from unlearn.tracking.base import Step

pytestmark = pytest.mark.usefixtures("composing")


class Writer:
    """An observer that writes files of its own at the end."""

    def start(self, config: RunConfig, directory: Path, config_hash: str) -> None:
        pass

    def step(self, step: Step) -> None:
        pass

    def finish(self, record: Mapping[str, Any], directory: Path) -> None:
        (directory / "figures").mkdir()
        (directory / "figures" / "samples.png").write_bytes(b"picture")


def open_session(folder: Path) -> Session:
    config = resolve_config(compose("config", ["checkpoint_every=0"]), [])
    parts = cast("Parts", SimpleNamespace(observers=[Writer()]))
    return Session(config, parts, new_record(config, "0123"), folder)


def test_every_file_is_on_the_disk_before_the_record_says_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def log(descriptor: int) -> None:
        fsync(descriptor)
        synced.append(Path(f"/proc/self/fd/{descriptor}").resolve().name)

    monkeypatch.setattr("os.fsync", log)
    session = open_session(tmp_path)
    with session.recording():
        (tmp_path / "student.safetensors").write_bytes(b"weights")
    record = next(i for i, name in enumerate(synced) if name.startswith(".record.json."))
    wanted = {"student.safetensors", "config.yaml", "history.parquet", "samples.png", "figures"}
    assert wanted <= set(synced[:record])
    saved = read_record(tmp_path)
    assert saved is not None
    assert saved["status"] == "complete"


def test_a_run_keeps_its_checkpoint_if_it_fails_and_only_then(tmp_path: Path) -> None:
    for name, error in (("good", None), ("bad", ZeroDivisionError("no such thing"))):
        folder = tmp_path / name
        folder.mkdir()
        session = open_session(folder)
        with session.recording():
            session.notify(Step("teacher", 1, 1, {"loss": 1.0}))
            session.keep_told("teacher")
            session.open_resume_file(folder).keep(Progress(taken={"loop": {"step": 1}}))
            if error is not None:
                raise error
        kept = {path.name for path in folder.iterdir()} & {RESUME, TOLD}
        assert kept == (set() if error is None else {RESUME, TOLD})


def test_training_told_before_a_kill_is_told_again(tmp_path: Path) -> None:
    """The network is in the cache then, so that the next attempt trains nothing."""
    first = open_session(tmp_path)
    for role in ("teacher", "retrained"):
        for epoch in (1, 2):
            first.notify(Step(role, epoch, 2, {"loss": epoch / 4}))
        first.keep_told(role)
    first.notify(Step("judge-1", 1, 2, {"loss": 1.0}))  # killed in the middle of this one
    second = open_session(tmp_path)
    for role in ("teacher", "retrained", "judge-1"):
        second.keep_told(role)
    assert second.history.plain() == first.history.plain()[:4]
    whole = (tmp_path / TOLD).read_text()
    for damaged in ("[{", whole.replace("0.25", "0.35")):
        (tmp_path / TOLD).write_text(damaged)
        third = open_session(tmp_path)
        third.keep_told("teacher")
        assert third.history.plain() == []


def test_a_method_whose_code_has_changed_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    found = []
    for number, name in enumerate(("first", "first", "second")):
        (tmp_path / "own_method.py").write_text(f"class Own:\n    loop = {name!r}\n")
        sys.modules.pop("own_method", None)
        importlib.invalidate_caches()
        hash_module.cache_clear()
        own = importlib.import_module("own_method").Own()
        file = open_session(tmp_path).open_resume_file(tmp_path, own)
        found.append(file.load() is not None)
        if number == 0:
            file.keep(Progress(taken={"loop": {"step": 1}}))
    assert found == [False, True, False]
