"""Every run is counted once or named: copies, links, renames, damaged records and files."""

from __future__ import annotations

import json
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.synthetic import put, report
from unlearn.errors import ConfigError
from unlearn.report import reading
from unlearn.report.runs import load, mixed, only


def count(*places: Path) -> dict[str, int]:
    found: dict[str, int] = load(list(places))["status"].value_counts().to_dict()
    return found


def some(outputs: Path) -> Path:
    """Two complete runs and a failed one, with seconds as a clock gives them."""
    for seed in (0, 1):
        put(outputs, seed=seed, at={"seconds.unlearn": 3.123456789012345 + seed})
    put(outputs, seed=2, status="failed", error="RunError: x", at={"seconds.unlearn": None})
    return outputs


def test_a_run_counts_once_wherever_it_was_copied(tmp_path: Path) -> None:
    outputs, lines = some(tmp_path / "outputs"), tmp_path / "runs.csv"
    report(outputs, "--runs-csv", lines)
    shutil.copytree(outputs, tmp_path / "backup")
    (tmp_path / "linked").symlink_to(outputs)
    shutil.copy(lines, tmp_path / "again.csv")
    expected = {"complete": 2, "failed": 1}
    assert count(outputs) == count(outputs, tmp_path / "backup") == expected
    assert count(tmp_path, outputs / "run-0", outputs / ".." / "outputs") == expected
    assert count(lines) == count(lines, tmp_path / "again.csv", outputs) == expected
    assert load([lines, outputs])["command"].notna().all()  # the folders say more than the lines


def test_a_line_of_an_older_file_is_the_run_with_its_seconds(tmp_path: Path) -> None:
    outputs, lines = some(tmp_path / "outputs"), tmp_path / "runs.csv"
    old = load([outputs])[["dataset", "model", "method", "forget", "seed", "status", "D_r", "s"]]
    old.to_csv(lines, index=False)
    runs = load([outputs, lines])
    assert (runs["status"] == "complete").sum() == 2
    put(outputs, seed=0, at={"seconds.unlearn": 3.5})
    assert count(outputs, lines)["complete"] == 3


def test_the_same_config_with_other_results_is_counted_and_named(tmp_path: Path) -> None:
    put(tmp_path, config_hash="a", D_r=97)
    put(tmp_path, config_hash="a", D_r=96)
    done = report(tmp_path, "--rows", "method", "--format", "csv")
    assert done.stdout.splitlines()[1].startswith("gkt,2,")
    assert "Repeated: 1 runs" in report(tmp_path).stdout


def test_links_are_followed_and_circles_are_not(tmp_path: Path) -> None:
    elsewhere = some(tmp_path / "disk")
    outputs = tmp_path / "outputs"
    put(outputs, seed=7)
    (outputs / "linked").symlink_to(elsewhere)
    (outputs / "circle").symlink_to(outputs)
    assert count(outputs) == {"complete": 3, "failed": 1}


def test_hidden_runs_and_runs_without_a_record_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path)
    put(tmp_path / ".kept")
    (tmp_path / ".kept" / "run-0").rename(tmp_path / ".hidden")
    torn = put(tmp_path)
    (torn / "record.json").rename(torn / "history.parquet")
    assert count(tmp_path) == {"complete": 1}
    said = capsys.readouterr().err
    assert str(tmp_path / ".hidden") in said
    assert str(torn) in said


def test_a_folder_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no record\.json"):
        load([tmp_path])


DAMAGED: list[dict[str, Any]] = [
    {"status": "done"},
    {"config_hash": None},
    {"dataset": {"name": "digits"}},
    {"command": "rm -r"},
    {"command": [1]},
    {"config": [1]},
    {"relearn": [1]},
    {"alarms": [1]},
    {"figures": {"mine.value": {}}},
    {"accuracy": {"unlearned": {"test": {"retain": 10**400}}}},
]


@pytest.mark.parametrize(
    "content",
    ["", '{"a":', "[1]", "null", "[" * 100_000, b"\0" * 50, b"\xff", *DAMAGED],
    ids=lambda content: str(content)[:20],
)
def test_a_damaged_record_is_named_and_left_out(tmp_path: Path, content: Any) -> None:
    put(tmp_path)
    bad = put(tmp_path) / "record.json"
    if isinstance(content, dict):
        content = json.dumps(json.loads(bad.read_text()) | content)
    bad.write_bytes(content if isinstance(content, bytes) else content.encode())
    done = report(tmp_path, "--figures", "D_r", "--format", "csv")
    assert done.stdout.splitlines()[1] == "digits,lenet,gkt,0,1,97.00"
    (line,) = done.stderr.splitlines()
    assert str(bad) in line


def test_what_is_no_regular_file_is_named_and_not_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = put(tmp_path)
    pipe = put(tmp_path) / "record.json"
    pipe.unlink()
    os.mkfifo(pipe)
    assert count(tmp_path) == {"complete": 1}
    assert str(pipe) in capsys.readouterr().err
    os.mkfifo(tmp_path / "runs.csv")
    with pytest.raises(ConfigError, match="no regular file"):
        load([run, tmp_path / "runs.csv"])


def test_damaged_audits_are_named_and_left_out(tmp_path: Path) -> None:
    put(tmp_path, seed=0)
    bad = put(tmp_path, seed=1, audits={"one": {"inside": True}})
    done = report("leaderboard", tmp_path)
    assert done.returncode == 0
    assert str(bad / "record.json") in done.stderr


@pytest.mark.parametrize("status", ["complete", "failed"])
def test_a_run_that_gets_its_name_while_it_is_looked_for_is_found(
    tmp_path: Path, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, seed=0)
    hidden = tmp_path / ".seed-1.partial"
    put(tmp_path, seed=1, status=status).rename(hidden)
    walk = os.walk

    def rename_after(*words: Any, **named: Any) -> Any:
        yield from walk(*words, **named)
        if hidden.exists():
            hidden.rename(tmp_path / ("seed-1" if status == "complete" else "seed-1.failed"))

    monkeypatch.setattr(reading.os, "walk", rename_after)
    assert sum(count(tmp_path).values()) == 2


def test_a_run_is_there_between_the_two_renames_of_force(tmp_path: Path) -> None:
    old, new = put(tmp_path, config_hash="a", D_r=90), put(tmp_path, config_hash="a", D_r=91)
    old.rename(tmp_path / ".seed-0.old")
    new.rename(tmp_path / ".seed-0.partial")
    for place in (tmp_path, tmp_path / "seed-0"):
        assert list(load([place])["D_r"]) == [91]
    (tmp_path / ".seed-0.partial").rename(tmp_path / "seed-0")
    assert list(load([tmp_path])["D_r"]) == [91]


def test_runs_that_are_replaced_all_the_time_are_counted_once_each(tmp_path: Path) -> None:
    for seed in range(30):
        put(tmp_path, seed=seed).rename(tmp_path / f"seed-{seed}")
    stop, stage = threading.Event(), tmp_path.with_name("stage")

    def replace() -> None:
        while not stop.is_set():
            for seed in range(30):
                own, work = tmp_path / f"seed-{seed}", tmp_path / f".seed-{seed}.partial"
                old = tmp_path / f".seed-{seed}.old"
                shutil.copytree(own, stage)
                stage.rename(work)
                own.rename(old)
                work.rename(own)
                shutil.rmtree(old)

    thread = threading.Thread(target=replace)
    thread.start()
    try:
        found = [count(tmp_path) for _ in range(20)]
    finally:
        stop.set()
        thread.join()
    assert found == [{"complete": 30}] * 20


def test_cells_that_mix_versions_of_torch_say_so(tmp_path: Path) -> None:
    lines = tmp_path / "runs.csv"
    for seed, version in enumerate(("2.6.0", "2.7.0")):
        put(tmp_path / "runs", seed=seed, versions={"torch": version, "wandb": version})
    runs = load([tmp_path / "runs"])
    assert mixed(runs, ["method"]) == ["versions.torch"]
    assert len(only(runs, ["versions.torch=2.7.0"])) == 1
    report(tmp_path / "runs", "--runs-csv", lines)
    assert mixed(load([lines]), ["method"]) == ["versions.torch"]


def test_a_cut_file_keeps_its_whole_lines_and_names_the_cut_one(tmp_path: Path) -> None:
    lines = tmp_path / "runs.csv"
    report(some(tmp_path / "runs"), "--runs-csv", lines)
    text = lines.read_text()
    first = text.index("\n") + 1
    second = text.index("\n", first) + 1
    for end, whole in ((second + 9, 1), (second - 1, 0), (len(text) - 1, 2), (len(text), 3)):
        cut = tmp_path / f"{end}.csv"
        cut.write_text(text[:end])
        done = report(cut, "--rows", "method")
        assert ("last line is cut off" in done.stderr) == (end < len(text))
        assert done.returncode == (0 if whole else 2)
        if whole:
            assert len(load([cut])) == whole


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (",complete,", ",compl,"),
        (",97.0,", ",97.o,"),
        (",False,", ",Fals,"),
        ("digits,", ","),
        ("digits,", "digits,digits,"),
    ],
)
def test_a_damaged_line_is_named_and_left_out(tmp_path: Path, old: str, new: str) -> None:
    lines = tmp_path / "runs.csv"
    report(some(tmp_path / "runs"), "--runs-csv", lines)
    head, first, *others = lines.read_text().splitlines(keepends=True)
    lines.write_text("".join([head, first.replace(old, new, 1), *others]))
    done = report(lines, "--rows", "method", "--figures", "D_r", "--format", "csv")
    assert done.stdout.splitlines()[1] == "gkt,1,1,97.00"
    assert f"{lines}: damaged (line 2" in done.stderr


def test_a_file_that_holds_no_runs(tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text("row,seed\na,1\n")
    assert "not written by --runs-csv: it has no dataset" in report(other).stderr
    for content in (b"", b"\0" * 100, b"\xff\n"):
        other.write_bytes(content)
        assert report(other).returncode == 2
    assert "cannot be read" in report(tmp_path / "absent.csv").stderr
