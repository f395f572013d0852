"""The audits tell a network that hides a class from one that has never seen it."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.helpers.command_line import Cli, record_in, valid_record_in

ARGUMENTS = ["model=lenet", "hardware=cpu", "hardware.threads=1", "tracking.mode=disabled"]
FIGURES = ["evaluation=figures", "~evaluation.metrics.proxy", "evaluation.every=null"]
AUDIT = ["evaluation=audit", "~evaluation.metrics.proxy", "evaluation.every=null"]
AUDIT += ["evaluation.metrics.relearn.max_steps=2", "evaluation.metrics.probe.draws=1"]
AUDITS = {
    *("accuracy", "divergence", "relearn", "probe", "cka"),
    *("inversion", "recovery", "lira", "mia_nn"),
}


def test_references_are_the_next_seeds_retrained_networks(cli: Cli, tmp_path: Path) -> None:
    """Bit for bit, so that a sweep over seeds trains one network more and no other."""
    shared = [*ARGUMENTS, "method=original", "training.epochs=2", "evaluation=quick"]
    for seed, references in ((0, 1), (1, 0)):
        outputs = f"outputs=outputs-{seed}"
        cli(
            *shared,
            f"seed={seed}",
            f"evaluation.references={references}",
            outputs,
            f"run_dir=run-{seed}",
        )
    own = {p.name: p for p in (tmp_path / "outputs-1" / "cache").glob("retrained-*")}
    both = {p.name: p for p in (tmp_path / "outputs-0" / "cache").glob("retrained-*")}
    assert len(own) == 1
    assert len(both) == 2
    assert own.keys() < both.keys()
    (name,) = own
    (other,) = both.keys() - own.keys()
    reference, retrained, again = (
        load_file(folder / "model.safetensors") for folder in (both[name], both[other], own[name])
    )
    for key, weight in reference.items():
        assert torch.equal(weight, again[key])
        assert not torch.equal(weight, retrained[key])
    record, without = record_in(tmp_path / "run-0"), record_in(tmp_path / "run-1")
    assert record["divergence"]["floor"]["forget"] > 0
    assert record["accuracy"]["references"][0]["test"]["forget"] == 0
    assert record["seconds"]["references"] > 0
    assert without["divergence"]["floor"] == {"retain": None, "forget": None}
    assert without["seconds"]["references"] is None


def test_every_audit_is_on_record_beside_its_spread(cli: Cli, tmp_path: Path) -> None:
    """Of the original itself, which most of them must tell from retrained networks."""
    small = ["model=allcnn", "model.width=0.1", "method=original", "training.epochs=8"]
    quiet = ["hardware=cpu", "hardware.threads=1", "tracking.mode=disabled"]
    done = cli(*small, *quiet, *AUDIT, "evaluation.references=2", "run_dir=here")
    assert "within the spread of retrained networks" in done.stdout
    assert "Alarm: no change: D_f is" in done.stdout
    record = valid_record_in(tmp_path / "here")
    assert {name.split("/")[0] for name in record["audits"]} == AUDITS
    assert set(record["seconds"]["audits"]) == AUDITS
    for name, entry in record["audits"].items():
        assert entry["unlearned"] == entry["original"], name
        assert len(entry["references"]) == 2
        assert len(entry["left_out"]) == 3
    forgotten = record["audits"]["accuracy/forget"]
    assert forgotten["unlearned"] == record["accuracy"]["unlearned"]["test"]["forget"]
    assert forgotten["inside"] is False
    assert record["audits_inside"] < 1
    assert len(record["alarms"]) == 1
    assert len(record["audit_curves"]["relearn/0.001/curve"]["references"]) == 2
    assert len(list((tmp_path / "outputs" / "cache").glob("teacher-*"))) == 2, "and the judge"
    assert record["seconds"]["judge"] > 0


@pytest.mark.slow
def test_the_probe_tells_a_hidden_class_from_one_never_seen(cli: Cli, tmp_path: Path) -> None:
    """What no method may look like, and what one that retrains does look like."""
    hidden = ("masked_logit", "head_only")
    cli("-m", *ARGUMENTS, f"method={','.join(hidden)},retrain", *FIGURES, "forget=[1]")
    records = [record_in(path.parent) for path in tmp_path.rglob("record.json")]
    found = {record["method"]: record for record in records}
    assert set(found) == {*hidden, "retrain"}
    most = {"masked_logit": 0, "head_only": 10, "retrain": 0}
    for method, record in found.items():
        assert record["accuracy"]["unlearned"]["test"]["forget"] <= most[method]
    assert abs(found["retrain"]["probe"]["penultimate"]) < 10
    for method in hidden:
        probe = found[method]["probe"]
        assert probe["unlearned"] == pytest.approx(probe["original"], abs=1e-6)
        assert probe["penultimate"] > 10
        assert probe["penultimate"] > 2 * probe["floor"]["penultimate"]
        assert not 0.8 <= found[method]["relearn"]["ain"] <= 1.25
