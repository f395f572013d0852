"""All audits of a run on small networks."""

import copy

import pytest
import torch
from torch import nn

from tests.helpers.tiny import Networks
from unlearn.evaluation.accuracy import AccuracyAudit
from unlearn.evaluation.audit import Audit, AuditContext
from unlearn.evaluation.base import Models
from unlearn.evaluation.cka import Alignment
from unlearn.evaluation.class_probe import ClassProbe
from unlearn.evaluation.concentration import Concentration
from unlearn.evaluation.divergence import DivergenceAudit
from unlearn.evaluation.inversion import InversionAudit
from unlearn.evaluation.membership import LikelihoodRatio, NeighbourMembership
from unlearn.evaluation.panel import run_audits
from unlearn.evaluation.probe import BlockProbe
from unlearn.evaluation.recovery import Recovery
from unlearn.evaluation.relearn import RelearnCurves

AUDITS: dict[str, Audit] = {
    "accuracy": AccuracyAudit(),
    "divergence": DivergenceAudit(),
    "relearn": RelearnCurves(learning_rates=(0.01,), batch_size=50, steps=12, every=4, target=80.0),
    "probe": BlockProbe(shots=2, draws=2),
    "class_probe": ClassProbe(shots=2, draws=2, seed=0),
    "concentration": Concentration(),
    "cka": Alignment(),
    "inversion": InversionAudit(images=6, steps=10, learning_rate=0.1, tv_weight=0.002),
    "recovery": Recovery(head_rows=10, shots=(1, 5), steps=5, learning_rate=0.01),
    "lira": LikelihoodRatio(),
    "mia_nn": NeighbourMembership(),
}


def test_audits_change_no_network(audit_context: AuditContext, networks: Networks) -> None:
    """Nor torch's random state; and every number is there for every network."""
    retrained, *references = networks.retrained
    every: list[nn.Module] = [networks.original, *networks.retrained]
    before = [copy.deepcopy(network.state_dict()) for network in every]
    random = torch.random.get_rng_state()
    models = Models(networks.original, retrained, retrained, tuple(references))
    found = run_audits(AUDITS, models, audit_context)
    assert torch.equal(random, torch.random.get_rng_state())
    for network, state in zip(every, before, strict=True):
        assert not network.training
        assert all(torch.equal(v, state[k]) for k, v in network.state_dict().items())
    for number, entry in found["audits"].items():
        assert entry["unlearned"] == entry["retrained"], number
        assert entry["low"] <= entry["high"]
        assert len(entry["references"]) == 3
        assert len(entry["left_out"]) == 4
        assert entry["masked"] is not None
    assert {number.split("/")[0] for number in found["audits"]} == set(AUDITS)
    named = {f"{a}/{n}" for a in AUDITS for n in getattr(AUDITS[a], "figure_names", {})}
    assert named <= set(found["audits"]), "an audit names its own numbers"
    assert found["audits_inside"] > 0.9, "the run's own retrained network is within the spread"
    forgotten = found["audits"]["accuracy/forget"]
    assert forgotten["original"] > forgotten["high"]
    assert forgotten["masked"] == 0
    curve = found["audit_curves"]["relearn/0.01/curve"]
    assert len(curve["original"]) == 4
    assert curve["retrained"][0] == 0
    assert set(found["seconds"]["audits"]) == set(AUDITS)


def test_no_verdict_without_references(audit_context: AuditContext, networks: Networks) -> None:
    models = Models(networks.original, networks.retrained[0], networks.original)
    audits = {name: AUDITS[name] for name in ("accuracy", "divergence", "lira")}
    found = run_audits(audits, models, audit_context)
    assert set(found["audits"]) == {"accuracy/retain", "accuracy/forget"}
    assert found["audits"]["accuracy/forget"]["unlearned"] == pytest.approx(100, abs=5)
    assert found["audits"]["accuracy/forget"]["inside"] is None
    assert found["audits_inside"] is None
