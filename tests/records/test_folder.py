"""A process killed at any rename loses no complete run, and what cannot be renamed is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra import compose

from unlearn.config.resolve import resolve_config
from unlearn.config.schema import RunConfig
from unlearn.errors import ConfigError
from unlearn.records.existing import find_finished
from unlearn.records.folder import fill_directory, lock_run
from unlearn.records.places import RESUME, locate_run
from unlearn.records.record import RECORD, read_record, write_json
from unlearn.records.template import new_record

pytestmark = pytest.mark.usefixtures("composing")

# Does the run of a record once more, and is killed at the Nth rename of a folder.
KILLED = """
import json, os, sys
from pathlib import Path
from unlearn.records.folder import fill_directory
from unlearn.records.record import write_json

record, directory, last = json.loads(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
rename, count = Path.rename, 0

def counting(self, target):
    global count
    count += 1
    if count == last:
        os.kill(os.getpid(), 9)
    return rename(self, target)

Path.rename = counting
with fill_directory(directory, record, force=True) as folder:
    write_json(folder / "record.json", record | {"status": "complete"})
    (folder / "config.yaml").write_text("attempt: 2")
"""


def configured(*words: str) -> RunConfig:
    return resolve_config(compose("config", list(words)), list(words))


def attempt(config: RunConfig, status: str, mark: str = "") -> dict[str, Any]:
    """Do a run that writes nothing but its record and a mark; return the record."""
    identity, directory = locate_run(config)
    record = new_record(config, identity)
    with lock_run(config, directory), fill_directory(directory, record, config.force) as folder:
        (folder / RESUME).write_text(mark)
        write_json(folder / RECORD, record | {"status": status})
    return record


def statuses(parent: Path) -> dict[str, str]:
    """The statuses of all records in the folders of a folder, hidden ones too."""
    found = {path.name: read_record(path) for path in parent.iterdir() if path.is_dir()}
    return {name: record["status"] for name, record in found.items() if record is not None}


@pytest.mark.parametrize("rename", [1, 2])
@pytest.mark.parametrize("force", [True, False])
def test_a_run_replaced_by_a_killed_process_is_complete(
    tmp_path: Path, rename: int, force: bool
) -> None:
    config = configured(f"run_dir={tmp_path}/run")
    record = attempt(config, "complete")
    words = [json.dumps(record), str(tmp_path / "run"), str(rename)]
    killed = subprocess.run([sys.executable, "-c", KILLED, *words], check=False)
    assert killed.returncode == -9
    assert list(statuses(tmp_path).values()) == ["complete", "complete"]

    again = configured(f"run_dir={tmp_path}/run", f"force={str(force).lower()}")
    with lock_run(again, tmp_path / "run"):
        found = find_finished(again, tmp_path / "run", record["config_hash"])
    assert (found is None) == force
    assert statuses(tmp_path) == {"run": "complete"}
    assert (tmp_path / "run" / "config.yaml").read_text() == "attempt: 2"


def test_a_complete_run_left_under_its_old_name_outlives_further_attempts(tmp_path: Path) -> None:
    """As an earlier version could leave it: replaced, and the replacement lost."""
    config = configured(f"run_dir={tmp_path}/run")
    attempt(config, "complete")
    (tmp_path / "run").rename(tmp_path / ".run.old")
    for _ in range(2):
        attempt(configured(f"run_dir={tmp_path}/run", "force=true"), "failed")
        assert statuses(tmp_path) == {"run": "complete", "run.failed": "failed"}


def test_a_failed_run_keeps_its_checkpoint_for_the_next_attempt(tmp_path: Path) -> None:
    config = configured(f"run_dir={tmp_path}/run")
    record = attempt(config, "failed", mark="step 40")
    with fill_directory(tmp_path / "run", record, force=False) as folder:
        assert (folder / RESUME).read_text() == "step 40"
        assert (tmp_path / "run" / RESUME).read_text() == "step 40", "the failed run keeps it"
    with fill_directory(tmp_path / "run", record, force=True) as folder:
        assert not (folder / RESUME).exists(), "with force a run begins anew"


def test_a_complete_run_keeps_no_checkpoint(tmp_path: Path) -> None:
    attempt(configured(f"run_dir={tmp_path}/run"), "complete", mark="step 40")
    assert not (tmp_path / "run" / RESUME).exists()


def link(run: Path) -> None:
    (run.parent / "elsewhere").mkdir()
    run.symlink_to(run.parent / "elsewhere")


def dangle(run: Path) -> None:
    run.symlink_to(run.parent / "nowhere")


def link_partial(run: Path) -> None:
    (run.parent / "precious").mkdir()
    (run.parent / f".{run.name}.partial").symlink_to(run.parent / "precious")


def link_old(run: Path) -> None:
    (run.parent / "precious").mkdir()
    (run.parent / f".{run.name}.old").symlink_to(run.parent / "precious")


def file_partial(run: Path) -> None:
    (run.parent / f".{run.name}.partial").write_text("mine")


def own_failed(run: Path) -> None:
    run.with_name(f"{run.name}.failed").mkdir()
    (run.with_name(f"{run.name}.failed") / "thesis.txt").write_text("years of work")


OBSTACLES = [link, dangle, link_partial, link_old, file_partial, own_failed]


@pytest.mark.parametrize("obstruct", OBSTACLES)
def test_what_cannot_be_renamed_is_refused_before_the_work(
    tmp_path: Path, obstruct: Callable[[Path], None]
) -> None:
    obstruct(tmp_path / "run")
    before = sorted(tmp_path.rglob("*"))
    with (
        pytest.raises(ConfigError, match=f"run_dir={tmp_path}/run: "),
        lock_run(configured(f"run_dir={tmp_path}/run"), tmp_path / "run"),
    ):
        pass
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / ".run.lock"])


@pytest.mark.parametrize("content", ["", "[]", '{"status": "complete"}', "\0" * 99])
def test_a_run_whose_record_is_damaged_is_done_again(tmp_path: Path, content: str) -> None:
    config = configured(f"run_dir={tmp_path}/run")
    record = attempt(config, "complete")
    (tmp_path / "run" / RECORD).write_text(content)
    assert find_finished(config, tmp_path / "run", record["config_hash"]) is None
    attempt(config, "complete")
    assert statuses(tmp_path) == {"run": "complete"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.yaml", b""),
        ("history.parquet", b"\0" * 4096),
        ("history.parquet", b"PAR1 and then the power went"),
        ("student.safetensors", b""),
        ("student.pt", b""),
        ("student/model.safetensors", b"\0" * 4096),
        ("student/config.json", b""),
    ],
)
def test_a_complete_run_with_a_damaged_file_is_done_again(
    tmp_path: Path, name: str, content: bytes
) -> None:
    config = configured(f"run_dir={tmp_path}/run")
    record = attempt(config, "complete")
    (tmp_path / "run" / "student").mkdir()  # of a teacher in a Hugging Face folder
    (tmp_path / "run" / name).write_bytes(b"{}")
    done = name == "history.parquet" or find_finished(
        config, tmp_path / "run", record["config_hash"]
    )
    assert done
    (tmp_path / "run" / name).write_bytes(content)
    assert find_finished(config, tmp_path / "run", record["config_hash"]) is None


@pytest.mark.parametrize("name", ["student.safetensors", "student.pt", "student/config.json"])
def test_a_folder_with_a_student_is_a_run_although_its_record_is_torn(
    tmp_path: Path, name: str
) -> None:
    student = tmp_path / "run" / name
    student.parent.mkdir(parents=True)
    student.write_text("{}")
    (tmp_path / "run" / RECORD).write_text("{")
    assert find_finished(configured(f"run_dir={tmp_path}/run"), tmp_path / "run", "0123") is None


@pytest.mark.parametrize("names", [["thesis.txt"], ["record.json", "thesis.txt"]])
def test_files_that_are_no_run_are_kept(tmp_path: Path, names: Sequence[str]) -> None:
    (tmp_path / "run").mkdir()
    for name in names:
        (tmp_path / "run" / name).write_text('{"title": "thesis"}')
    for force in ("true", "false"):
        config = configured(f"run_dir={tmp_path}/run", f"force={force}")
        with pytest.raises(ConfigError, match="holds files that are no run"):
            find_finished(config, tmp_path / "run", "0123")
