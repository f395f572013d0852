"""Records on disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose

from unlearn.config.resolve import resolve_config
from unlearn.errors import ConfigError
from unlearn.records.record import check_metric_names, write_json


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


@pytest.mark.usefixtures("composing")
@pytest.mark.parametrize(
    ("name", "reserved"),
    [
        *((name, True) for name in ("config", "status", "seed", "seconds", "published", "audits")),
        *((name, False) for name in ("probe", "confidence")),
    ],
)
def test_a_metric_has_no_name_of_another_part_of_the_record(name: str, reserved: bool) -> None:
    words = [f"+evaluation.metrics.{name}._target_=my_package.Metric", "evaluation=quick"]
    config = resolve_config(compose("config", words), words)
    if reserved:
        with pytest.raises(ConfigError, match=f"evaluation.metrics={name}: is a key of the record"):
            check_metric_names(config)
    else:
        check_metric_names(config)
