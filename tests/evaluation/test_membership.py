"""Membership attacks where members differ from others, and where they do not."""

import copy
import dataclasses
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.helpers.tiny import Networks, WrittenNet, write_logits
from unlearn.data.tensors import Split
from unlearn.evaluation.audit import AuditContext, AuditedNetwork, AuditFigures
from unlearn.evaluation.base import MetricContext, Models
from unlearn.evaluation.membership import (
    LikelihoodRatio,
    Membership,
    NeighbourMembership,
    compute_log_odds,
)


def get_value(figures: AuditFigures, name: str) -> float:
    figure = figures[name]
    return figure.value


@pytest.mark.parametrize(("sharpness", "lowest", "highest"), [(12.0, 0.97, 1.0), (2.0, 0.42, 0.58)])
def test_the_entropy_attack_finds_sure_members_and_no_others(
    context: MetricContext, sharpness: float, lowest: float, highest: float
) -> None:
    """300 against 300 rows: the AUC's standard error at chance is 0.024."""
    generator, labels = torch.Generator().manual_seed(0), torch.arange(1200) % 4

    def make_split(sharpness: float) -> Split:
        noise = torch.randn(1200, 4, generator=generator)
        return write_logits(noise + sharpness * F.one_hot(labels, 4), labels)

    data = dataclasses.replace(context.data, train=make_split(sharpness), test=make_split(2.0))
    changed = dataclasses.replace(context, data=data)
    found = Membership(most=300, penalty=3.0)(Models(WrittenNet(), None, WrittenNet()), changed)
    assert lowest < found["unlearned"]["auc"] <= highest


def test_the_entropy_attacks_gap_and_floor(networks: Networks, context: MetricContext) -> None:
    first, second, *references = networks.retrained
    models = Models(networks.original, first, second, tuple(references))
    found = Membership(most=50, penalty=3.0)(models, context)
    retrained, unlearned = found["retrained"]["auc"], found["unlearned"]["auc"]
    others = [reference["auc"] for reference in found["references"]]
    assert len({retrained, unlearned, *others}) == 4
    assert found["gap"] == pytest.approx(abs(unlearned - retrained))
    assert found["floor"] == pytest.approx(np.mean([abs(auc - retrained) for auc in others]))


def test_log_odds_do_not_round() -> None:
    logits, labels = torch.tensor([[0.0, 1.0, -1.0], [80.0, 0.0, 0.0]]), torch.tensor([1, 0])
    probability = logits.double().softmax(dim=1)[0, 1].item()
    found = compute_log_odds(logits, labels).tolist()
    assert found == pytest.approx([math.log(probability / (1 - probability)), 80 - math.log(2)])


def test_lira_finds_members_only(audit_context: AuditContext, networks: Networks) -> None:
    first, *peers = [AuditedNetwork(network, audit_context) for network in networks.retrained]
    seen = LikelihoodRatio()(AuditedNetwork(networks.original, audit_context), peers)
    assert get_value(seen, "auc") > 0.99
    assert get_value(seen, "tpr") > 95
    assert get_value(seen, "excess") > 3
    itself = LikelihoodRatio()(peers[0], peers[1:])
    again = LikelihoodRatio()(AuditedNetwork(networks.retrained[1], audit_context), peers[1:])
    assert itself == again, "logits that were computed before change nothing"
    unseen = LikelihoodRatio()(first, peers)
    assert abs(get_value(unseen, "excess")) < 0.5 * get_value(seen, "excess")
    assert LikelihoodRatio()(first, peers[:1]) == {}


@pytest.mark.parametrize("audit", [LikelihoodRatio(), NeighbourMembership()])
def test_retrained_networks_are_at_chance_on_average(
    audit: LikelihoodRatio | NeighbourMembership, audit_context: AuditContext, networks: Networks
) -> None:
    """Over all that are left out, the same rows are ranked both ways round."""
    every = [AuditedNetwork(network, audit_context) for network in networks.retrained]
    areas = [
        get_value(audit(one, every[:i] + every[i + 1 :]), "auc") for i, one in enumerate(every)
    ]
    assert np.mean(areas) == pytest.approx(0.5, abs=0.15)


def test_mia_nn_ignores_forget_logits(audit_context: AuditContext, networks: Networks) -> None:
    peers = [AuditedNetwork(network, audit_context) for network in networks.retrained]
    hidden = copy.deepcopy(networks.original)
    with torch.no_grad():
        hidden.head.weight[0] = 0
        hidden.head.bias[0] = -20
    plain, masked = (
        NeighbourMembership()(AuditedNetwork(network, audit_context), peers)
        for network in (networks.original, hidden)
    )
    assert plain == masked
