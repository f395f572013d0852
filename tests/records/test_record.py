"""Records on disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from unlearn.records.record import write_json


def test_two_processes_may_write_the_same_file_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second process writes and renames the file between the first one's two steps."""
    target, rename = tmp_path / "record.json", os.replace
    code = "import sys; from pathlib import Path; from unlearn.records.record import write_json; "
    other = [sys.executable, "-c", code + "write_json(Path(sys.argv[1]), 7)", str(target)]

    def write_meanwhile(source: Path, place: Path) -> None:
        subprocess.run(other, check=True)
        rename(source, place)

    monkeypatch.setattr("os.replace", write_meanwhile)
    write_json(target, 7)
    assert json.loads(target.read_text()) == 7
    assert list(tmp_path.iterdir()) == [target], "no temporary file is left"
