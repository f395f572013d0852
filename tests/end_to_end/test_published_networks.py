"""Published networks: copied from a cache, and read in place of training."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.publish_networks import as_table
from tests.helpers.paths import DOCS, ROOT
from unlearn.api import run
from unlearn.errors import ConfigError
from unlearn.files import digest_file

WORDS = [
    *("model=lenet", "method=original", "evaluation=quick", "tracking.mode=disabled"),
    *("training.epochs=1", "hardware.threads=1"),
]


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A folder with the teacher and the retrained network of one small run."""
    run([*WORDS, f"outputs={tmp_path / 'first'}"])
    folder = tmp_path / "networks"
    script = ROOT / "scripts" / "publish_networks.py"
    subprocess.run([sys.executable, script, tmp_path / "first/cache", folder], check=True)
    return folder


def test_published_networks_are_read_in_place_of_training(published: Path) -> None:
    for note in published.glob("*/model.json"):  # as if another machine had trained it
        about = json.loads(note.read_text())
        about["config"]["hardware"] = ["2.0.0", "cuda", "None", False, None, True]
        note.write_text(json.dumps(about))
    outputs = published.parent / "second"
    record = run([*WORDS, f"outputs={outputs}", f"networks={published}"]).record
    assert not list((outputs / "cache").glob("*/model.safetensors"))
    digests = {digest_file(file) for file in published.glob("*/model.safetensors")}
    assert set(record["published"]) == {"teacher", "retrained"}
    assert set(record["published"].values()) == digests


def test_other_settings_are_trained(published: Path) -> None:
    outputs = published.parent / "second"
    run([*WORDS, "training.batch_size=64", f"outputs={outputs}", f"networks={published}"])
    assert len(list((outputs / "cache").glob("*/model.safetensors"))) == 2


def test_a_damaged_published_network_is_refused(published: Path) -> None:
    (weights,) = published.glob("retrained-*/model.safetensors")
    content = bytearray(weights.read_bytes())
    content[-5] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ConfigError, match="SHA-256"):
        run([*WORDS, f"outputs={published.parent / 'second'}", f"networks={published}"])


def test_a_folder_that_is_not_there_is_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        run([*WORDS, f"outputs={tmp_path / 'outputs'}", "networks=nowhere"])
    assert refused.value.key == "networks"
    assert not list((tmp_path / "outputs").rglob("*.json"))


def test_the_networks_of_the_docs_are_whole_and_listed() -> None:
    folder = DOCS / "results" / "cifar10" / "networks"
    weights = list(folder.glob("*/model.safetensors"))
    assert weights
    for file in weights:
        about = json.loads(file.with_name("model.json").read_text())
        assert about["sha256"] == digest_file(file)
        assert file.stat().st_size <= 1.2e6
    page = (folder.parent / "index.md").read_text()
    assert as_table(folder) in page
