"""A record that cannot be used counts as absent, and is named once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hydra import compose

from unlearn.config.resolve import resolve_config
from unlearn.files import report_damage
from unlearn.records.record import RECORD, read_record, write_json
from unlearn.records.template import new_record


@pytest.fixture
def whole(composing: None) -> dict[str, Any]:
    return new_record(resolve_config(compose("config"), []), "0123") | {"status": "complete"}


def test_a_whole_record_is_read_as_it_was_written(tmp_path: Path, whole: dict[str, Any]) -> None:
    write_json(tmp_path / RECORD, whole)
    assert read_record(tmp_path) == whole
    assert read_record(tmp_path / "nowhere") is None


@pytest.mark.parametrize(
    "content",
    [
        "",
        "\0" * 300,
        '{"status": "complete", ',
        "[]",
        "null",
        "7",
        "{}",
        '{"status": "complete"}',
        '{"status": "complete", "config_hash": "0123"}',
        '{"status": "failed"}',
        '{"status": "perhaps", "config_hash": "0123"}',
    ],
)
def test_what_is_no_record_is_named_once(
    tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    report_damage.cache_clear()
    (tmp_path / RECORD).write_text(content)
    assert read_record(tmp_path) is None
    assert read_record(tmp_path) is None
    assert capsys.readouterr().err.count(str(tmp_path / RECORD)) == 1


@pytest.mark.parametrize("path", ["config", "seconds", "accuracy.original.test", "alarms"])
def test_a_complete_record_that_lacks_a_key_is_none(
    tmp_path: Path, whole: dict[str, Any], path: str
) -> None:
    *outer, last = path.split(".")
    inner = whole
    for name in outer:
        inner = inner[name]
    del inner[last]
    (tmp_path / RECORD).write_text(json.dumps(whole))
    assert read_record(tmp_path) is None


def test_a_failed_record_needs_no_figures(tmp_path: Path) -> None:
    write_json(tmp_path / RECORD, {"status": "failed", "config_hash": "0123"})
    assert read_record(tmp_path) == {"status": "failed", "config_hash": "0123"}
