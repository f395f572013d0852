"""What the audits find in small networks that were really trained, with the class and without."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from tests.helpers.tiny import trained
from unlearn.data.tensors import Data, Split
from unlearn.evaluation.accuracy import AccuracyAudit
from unlearn.evaluation.audit import Audit, AuditContext, AuditedNetwork, AuditFigure, AuditFigures
from unlearn.evaluation.base import Models
from unlearn.evaluation.cka import Alignment, compute_linear_cka
from unlearn.evaluation.divergence import DivergenceAudit
from unlearn.evaluation.inversion import InversionAudit
from unlearn.evaluation.membership import LikelihoodRatio, NeighbourMembership, compute_log_odds
from unlearn.evaluation.panel import run_audits
from unlearn.evaluation.probe import BlockProbe
from unlearn.evaluation.recovery import Recovery
from unlearn.evaluation.relearn import RelearnCurves
from unlearn.protocol import Request

MakeRequest = Callable[..., Request]
AUDITS: dict[str, Audit] = {
    "accuracy": AccuracyAudit(),
    "divergence": DivergenceAudit(),
    "relearn": RelearnCurves(learning_rates=[0.01], batch_size=50, steps=12, every=4, target=80.0),
    "probe": BlockProbe(shots=2, draws=2),
    "cka": Alignment(),
    "inversion": InversionAudit(images=6, steps=10, learning_rate=0.1, tv_weight=0.002),
    "recovery": Recovery(head_rows=10, shots=[1, 5], steps=5, learning_rate=0.01),
    "lira": LikelihoodRatio(),
    "mia_nn": NeighbourMembership(),
}


@pytest.fixture(scope="module")
def trained_nets() -> Callable[[Split], dict[str, Any]]:
    """Networks of all classes, and four that have never seen class 0, trained once."""
    kept: dict[str, Any] = {}

    def nets(train: Split) -> dict[str, Any]:
        if not kept:
            kept["original"] = trained(train, (0, 1, 2, 3), 1, 6)
            kept["judge"] = trained(train, (0, 1, 2, 3), 9, 6)
            kept["retrained"] = [trained(train, (1, 2, 3), seed, 6) for seed in range(2, 6)]
        return kept

    return nets


@pytest.fixture
def networks(easy_data: Data, trained_nets: Callable[[Split], dict[str, Any]]) -> dict[str, Any]:
    return trained_nets(easy_data.train)


@pytest.fixture
def context(easy_data: Data, make_request: MakeRequest, networks: dict[str, Any]) -> AuditContext:
    request = make_request(teacher=networks["original"])
    return AuditContext(request, easy_data, networks["judge"], 60)


def value(found: AuditFigures, name: str) -> float:
    figure = found[name]
    assert isinstance(figure, AuditFigure)
    return figure.value


def test_alignment_against_another_formula_and_what_it_does_not_see() -> None:
    """As the normalised Hilbert-Schmidt independence criterion of the Gram matrices."""
    random = torch.Generator().manual_seed(0)
    x, y = torch.randn(30, 5, generator=random), torch.randn(30, 7, generator=random)
    y[:, 0] = 3 * x[:, 0]
    centre = torch.eye(30).double() - 1 / 30
    gram = [centre @ f.double() @ f.double().T @ centre for f in (x, y)]
    independent = (gram[0] * gram[1]).sum() / (gram[0].norm() * gram[1].norm())
    assert compute_linear_cka(x, y) == pytest.approx(independent.item(), rel=1e-9)
    rotation = torch.linalg.qr(torch.randn(5, 5, generator=random))[0]
    assert compute_linear_cka(x, 4 * x @ rotation + 2) == pytest.approx(1, abs=1e-6)
    assert compute_linear_cka(x, x * torch.tensor([1.0, 9, 1, 1, 1])) < 0.9
    assert compute_linear_cka(x, torch.ones(30, 2)) == 0


def test_log_odds_does_not_round() -> None:
    logits, labels = torch.tensor([[0.0, 1.0, -1.0], [80.0, 0.0, 0.0]]), torch.tensor([1, 0])
    probability = logits.double().softmax(dim=1)[0, 1].item()
    found = compute_log_odds(logits, labels).tolist()
    assert found == pytest.approx([math.log(probability / (1 - probability)), 80 - math.log(2)])


def test_membership_catches_who_saw_the_rows_and_passes_who_did_not(
    context: AuditContext, networks: dict[str, Any]
) -> None:
    first, *peers = [AuditedNetwork(network, context) for network in networks["retrained"]]
    seen = LikelihoodRatio()(AuditedNetwork(networks["original"], context), peers)
    assert value(seen, "auc") > 0.99
    assert value(seen, "tpr") > 95
    assert value(seen, "excess") > 3
    itself = LikelihoodRatio()(peers[0], peers[1:])
    again = LikelihoodRatio()(AuditedNetwork(networks["retrained"][1], context), peers[1:])
    assert itself == again, "nothing depends on what else was read of a network"
    unseen = LikelihoodRatio()(first, peers)
    assert abs(value(unseen, "excess")) < 0.5 * value(seen, "excess")
    assert LikelihoodRatio()(first, peers[:1]) == {}


def test_a_network_held_out_is_at_chance_on_average(
    context: AuditContext, networks: dict[str, Any]
) -> None:
    """Whoever is left out, the same rows are ranked both ways round: the mean AUC is 0.5."""
    everyone = [AuditedNetwork(network, context) for network in networks["retrained"]]
    for audit in (LikelihoodRatio(), NeighbourMembership()):
        areas = [
            value(audit(one, everyone[:i] + everyone[i + 1 :]), "auc")
            for i, one in enumerate(everyone)
        ]
        assert sum(areas) / len(areas) == pytest.approx(0.5, abs=0.15)


def test_neighbours_see_through_a_hidden_logit(
    context: AuditContext, networks: dict[str, Any]
) -> None:
    """They are the original's to the last digit, where the class's own probability is 0."""
    peers = [AuditedNetwork(network, context) for network in networks["retrained"]]
    hidden = copy.deepcopy(networks["original"])
    with torch.no_grad():
        hidden.head.weight[0] = 0
        hidden.head.bias[0] = -20
    plain, masked = (
        NeighbourMembership()(AuditedNetwork(network, context), peers)
        for network in (networks["original"], hidden)
    )
    assert plain == masked


def test_recovery_finds_what_is_left_and_the_judge_names_what_it_sees(
    context: AuditContext, networks: dict[str, Any]
) -> None:
    original, retrained = AuditedNetwork(networks["original"], context), networks["retrained"][0]
    recovery = AUDITS["recovery"]
    assert value(recovery(original, []), "shots-5") > 95
    assert value(recovery(AuditedNetwork(retrained, context), []), "shots-1") < 50
    assert value(AUDITS["inversion"](original, []), "named") > value(
        AUDITS["inversion"](AuditedNetwork(retrained, context), []), "named"
    )


def test_all_audits_of_a_run_change_no_network(
    context: AuditContext, networks: dict[str, Any]
) -> None:
    """Nor torch's random state; and every number is there for every network."""
    retrained, *references = networks["retrained"]
    everyone: list[nn.Module] = [networks["original"], *networks["retrained"]]
    before = [copy.deepcopy(network.state_dict()) for network in everyone]
    random = torch.random.get_rng_state()
    models = Models(networks["original"], retrained, retrained, tuple(references))
    found = run_audits(AUDITS, models, context)
    assert torch.equal(random, torch.random.get_rng_state())
    for network, state in zip(everyone, before, strict=True):
        assert not network.training
        assert all(torch.equal(v, state[k]) for k, v in network.state_dict().items())
    for number, entry in found["audits"].items():
        assert entry["unlearned"] == entry["retrained"], number
        assert entry["low"] <= entry["high"]
        assert len(entry["references"]) == 3
        assert len(entry["left_out"]) == 4
        assert entry["masked"] is not None
    assert {number.split("/")[0] for number in found["audits"]} == set(AUDITS)
    assert found["audits_inside"] > 0.9, "the run's own retrained network is within the spread"
    forgotten = found["audits"]["accuracy/forget"]
    assert forgotten["original"] > forgotten["high"]
    assert forgotten["masked"] == 0
    curve = found["audit_curves"]["relearn/0.01/curve"]
    assert len(curve["original"]) == 4
    assert curve["retrained"][0] == 0
    assert set(found["seconds"]["audits"]) == set(AUDITS)


def test_without_references_there_are_figures_and_no_verdict(
    context: AuditContext, networks: dict[str, Any]
) -> None:
    models = Models(networks["original"], networks["retrained"][0], networks["original"])
    audits = {name: AUDITS[name] for name in ("accuracy", "divergence", "lira")}
    found = run_audits(audits, models, context)
    assert set(found["audits"]) == {"accuracy/retain", "accuracy/forget"}
    assert found["audits"]["accuracy/forget"]["unlearned"] > 95
    assert found["audits"]["accuracy/forget"]["inside"] is None
    assert found["audits_inside"] is None
