"""The probe of the forget classes and of the retain classes by the same fits."""

import numpy as np
import pytest
import torch

from tests.helpers.tiny import MakeRequest, seeded_net
from unlearn.evaluation.audit import TEST_PARTS, AuditContext, AuditedNetwork, AuditFigure
from unlearn.evaluation.class_probe import ClassProbe
from unlearn.evaluation.probe import BlockProbe, FewShotProbe


def test_each_class_has_the_score_of_a_probe_of_its_own(audit_context: AuditContext) -> None:
    network = seeded_net(1)  # untrained, so that the classes differ in their scores
    audited = AuditedNetwork(network, audit_context)
    splits = [audit_context.draw_training_rows(6, seed=1)]
    splits += [audit_context.select_rows(part) for part in TEST_PARTS]
    with torch.no_grad():
        maps = [network.second(network.first(split.images)) for split in splits]
    arrays = [rows.mean(dim=(2, 3)).double().numpy() for rows in maps]
    labels = [split.labels.numpy() for split in splits]
    train = arrays[0], labels[0]
    test = np.concatenate(arrays[1:]), np.concatenate(labels[1:])
    alone = [FewShotProbe(2, 3).score(train, test, (c,)) for c in range(4)]
    assert len(set(alone)) > 2

    found = ClassProbe(2, 3, seed=1)(audited, [])
    forget, retain = found["forget"], found["retain"]
    assert isinstance(forget, AuditFigure)
    assert isinstance(retain, AuditFigure)
    assert forget.value == pytest.approx(alone[0], abs=0.5)
    assert retain.value == pytest.approx(sum(alone[1:]) / 3, abs=0.5)
    own = ClassProbe(2, 3, seed=audit_context.request.seed)(audited, [])
    assert own["forget"] == BlockProbe(2, 3)(audited, [])["head (input)"]


def test_all_runs_draw_the_same_rows(
    audit_context: AuditContext, make_request: MakeRequest
) -> None:
    data, seed = audit_context.data, audit_context.request.seed
    other = AuditContext(make_request(seed=seed + 1), data, None, 60)
    fixed, drawn = (
        [context.draw_training_rows(6, seed).images for context in (audit_context, other)]
        for seed in (4, None)
    )
    assert torch.equal(*fixed)
    assert not torch.equal(*drawn)


def test_several_groups_are_scored_as_each_alone() -> None:
    random = np.random.default_rng(0)
    labels = np.arange(80) % 4
    features = random.standard_normal((80, 5)) + 2 * np.eye(4, 5)[labels]
    train, test = (features[:40], labels[:40]), (features[40:], labels[40:])
    probe, groups = FewShotProbe(2, 4), [(0,), (1, 2), (3,)]
    alone = [probe.score(train, test, group) for group in groups]
    assert probe.score_each(train, test, groups) == alone
    assert len(set(alone)) == 3
