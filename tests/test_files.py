"""Files are on the disk before anything vouches for them, and killed processes leave no litter."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from unlearn.files import remove_leftovers, replace_file, sync_tree


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What reached the disk, in order: `sync FILE` and `rename FILE`."""
    events: list[str] = []
    fsync, replace = os.fsync, os.replace

    def log_sync(descriptor: int) -> None:
        fsync(descriptor)
        events.append("sync " + Path(f"/proc/self/fd/{descriptor}").resolve().name)

    def log_rename(source: Path, target: Path) -> None:
        replace(source, target)
        events.append(f"rename {Path(target).name}")

    monkeypatch.setattr("os.fsync", log_sync)
    monkeypatch.setattr("os.replace", log_rename)
    return events


def test_a_file_is_on_the_disk_before_it_gets_its_name(tmp_path: Path, synced: list[str]) -> None:
    replace_file(tmp_path / "kept", lambda path: path.write_text("all of it"))
    first, second, third = synced
    assert first.startswith("sync .kept.")
    assert second == "rename kept"
    assert third == f"sync {tmp_path.name}"
    assert (tmp_path / "kept").read_text() == "all of it"


def test_a_tree_is_synced_to_its_last_file(tmp_path: Path, synced: list[str]) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "deep").write_text("1")
    (tmp_path / "top").write_text("2")
    (tmp_path / "link").symlink_to("nowhere")
    sync_tree(tmp_path)
    assert {"sync top", "sync deep", "sync a", "sync b", f"sync {tmp_path.name}"} == set(synced)


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("old")

    def fail(path: Path) -> None:
        path.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        replace_file(tmp_path / "kept", fail)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (tmp_path / "kept").read_text() == "old"


@pytest.mark.parametrize(("umask", "mode"), [(0o002, 0o664), (0o027, 0o640), (0o077, 0o600)])
def test_permissions_follow_the_umask(tmp_path: Path, umask: int, mode: int) -> None:
    def write_privately(path: Path) -> None:  # as safetensors does
        path.unlink()
        path.touch(mode=0o600)

    before = os.umask(umask)
    try:
        replace_file(tmp_path / "kept", write_privately)
    finally:
        os.umask(before)
    assert (tmp_path / "kept").stat().st_mode & 0o777 == mode
    assert len(list(tmp_path.iterdir())) == 1


def test_temporary_files_of_dead_processes_are_removed(tmp_path: Path) -> None:
    words = (
        "import os, sys; from pathlib import Path; from unlearn.files import replace_file; "
        "replace_file(Path(sys.argv[1]), lambda path: os.kill(os.getpid(), 9))"
    )
    killed = [sys.executable, "-c", words, str(tmp_path / "kept")]
    assert subprocess.run(killed, check=False).returncode == -9
    (left,) = tmp_path.iterdir()
    ours = tmp_path / f".mine.json.{os.getpid()}.tmp"
    other = tmp_path / ".theirs.json.another-host-999999999.tmp"
    for path in (ours, other, tmp_path / "notes.tmp"):
        path.touch()
    remove_leftovers(tmp_path, locked=False)
    assert not left.exists()
    assert {path.name for path in tmp_path.iterdir()} == {ours.name, other.name, "notes.tmp"}
    remove_leftovers(tmp_path, locked=True)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.tmp"]
