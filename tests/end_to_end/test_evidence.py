"""A deletion request and its evidence: the card, its check, and what is left on disk."""

import json
from functools import partial
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tests.helpers.command_line import TINY, Cli, record_in, run_program
from unlearn.records.card import digest_file

FIGURES = ["evaluation=debug", "evaluation.metrics.inversion_attack.steps=1"]


call = partial(run_program, "-m")


@pytest.fixture
def answered(cli: Cli, tmp_path: Path) -> Path:
    """The run folder of a request that was answered with data at hand."""
    words = [word for word in TINY if not word.startswith("evaluation")]
    cli(*words, *FIGURES, "forget=[3]", "run_dir=deleted")
    return tmp_path / "deleted"


def test_the_card_holds_what_was_asked_done_and_measured(answered: Path) -> None:
    card, record = json.loads((answered / "model_card.json").read_text()), record_in(answered)
    assert card["forget"] == [3]
    assert (card["method"], card["access"]) == ("gkt", "none")
    assert card["real_data_read"] == record["ledger"]
    assert card["config_hash"] == record["config_hash"]
    assert card["weights_out"]["sha256"] == digest_file(answered / "student.safetensors")
    assert len(card["weights_in"]["sha256"]) == 64
    shown = {row["path"]: (row["value"], row["floor"]) for row in card["evidence"]}
    assert (
        shown["accuracy.unlearned.test.forget"][0]
        == (record["accuracy"]["unlearned"]["test"]["forget"])
    )
    assert shown["divergence.forget"] == (
        record["divergence"]["forget"],
        record["divergence"]["floor"]["forget"],
    )
    page = (answered / "MODEL_CARD.md").read_text()
    assert card["weights_out"]["sha256"] in page
    assert all(limit in page for limit in card["limits"])


def test_a_changed_student_and_a_changed_figure_are_found(answered: Path) -> None:
    call("unlearn.runner.verify", answered)

    record = record_in(answered)
    record["accuracy"]["unlearned"]["test"]["forget"] = 41.5
    (answered / "record.json").write_text(json.dumps(record))
    figure = call("unlearn.runner.verify", answered, code=1)
    assert "accuracy.unlearned.test.forget: was 41.5" in figure.stdout

    weights = load_file(answered / "student.safetensors")
    save_file({k: v + 1 for k, v in weights.items()}, answered / "student.safetensors")
    changed = call("unlearn.runner.verify", answered, code=1)
    assert "student.safetensors: its SHA-256" in changed.stdout
    call("unlearn.runner.verify", answered.parent, code=1)


def test_pictures_without_data_are_opt_in(cli: Cli, tmp_path: Path, answered: Path) -> None:
    (teacher,) = (tmp_path / "outputs" / "cache").glob("teacher-*/model.safetensors")
    words = [word for word in TINY if not word.startswith("evaluation")]
    none = ["dataset=none", "dataset.shape=[1,8,8]", "dataset.num_classes=10"]
    none += ["dataset.mean=[0.305]", "dataset.std=[0.377]", f"model.checkpoint={teacher}"]
    cli(*words, *FIGURES, *none, "run_dir=quiet")
    assert not list((tmp_path / "quiet").rglob("*.png"))
    card = json.loads((tmp_path / "quiet" / "model_card.json").read_text())
    assert card["weights_in"] == {"file": str(teacher), "sha256": digest_file(teacher)}
    assert any(row["path"] == "proxy.forget" for row in card["evidence"])
    cli(*words, *FIGURES, *none, "evaluation.pictures=true", "run_dir=shown")
    assert list((tmp_path / "shown").rglob("*.png"))
    hashes = {record_in(tmp_path / name)["config_hash"] for name in ("quiet", "shown")}
    assert len(hashes) == 1, "pictures decide no figure"
    inverts = ["method=regrow", "method.iterations=1", "evaluation=quick", "outputs=inverts"]
    kept = tmp_path / "inverts" / "cache" / "inverted"
    cli(*words, *inverts, *none, "run_dir=unseen")
    assert not kept.exists()
    cli(*words, *inverts, *none, "evaluation.pictures=true", "run_dir=seen")
    assert list(kept.glob("*.pt"))


def test_cleaning_removes_only_pictures_and_caches(answered: Path, tmp_path: Path) -> None:
    assert list(answered.rglob("*.png"))
    kept = {path.name for path in answered.iterdir() if path.is_file()}
    dry = call("unlearn.records.clean", tmp_path, "--dry-run")
    assert "would remove" in dry.stdout
    assert list(answered.rglob("*.png"))
    done = call("unlearn.records.clean", tmp_path)
    removed = {Path(line.split(" ")[1]) for line in done.stdout.splitlines()}
    assert removed == {answered / "figures", tmp_path / "outputs" / "cache"}
    assert not any(path.exists() for path in removed)
    assert {path.name for path in answered.iterdir() if path.is_file()} == kept
    call("unlearn.records.clean", tmp_path / "nowhere", code=1)
