"""Images inverted from networks with and without the class."""

import torch

from tests.helpers.tiny import MakeRequest, Networks
from unlearn.evaluation.audit import AuditContext, AuditedNetwork
from unlearn.evaluation.inversion import Inversion, InversionAudit


def test_inverted_images_are_recognised(networks: Networks, make_request: MakeRequest) -> None:
    request, labels = make_request(), torch.arange(4).repeat(3)
    inversion = Inversion(steps=100, learning_rate=0.1, tv_weight=0.0)
    images = inversion.invert(networks.original, request, labels, seed=1)
    assert (images >= request.lowest).all()
    assert (images <= request.highest).all()
    assert networks.original(images).argmax(dim=1).tolist() == labels.tolist()


def test_the_judge_sees_known_classes(networks: Networks, audit_context: AuditContext) -> None:
    audit = InversionAudit(images=6, steps=10, learning_rate=0.1, tv_weight=0.002)
    known, unknown = (
        audit(AuditedNetwork(network, audit_context), [])["named"]
        for network in (networks.original, networks.retrained[0])
    )
    assert known.value > unknown.value
    assert known.resolution == 100 / 6
