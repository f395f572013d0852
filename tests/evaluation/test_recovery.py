"""A class that comes back from a few images where it is known, and not where it is not."""

from tests.helpers.tiny import Networks
from unlearn.evaluation.audit import AuditContext, AuditedNetwork
from unlearn.evaluation.recovery import Recovery


def test_a_known_class_recovers_sooner(audit_context: AuditContext, networks: Networks) -> None:
    recovery = Recovery(head_rows=10, shots=(1, 5), steps=5, learning_rate=0.01)
    known, unknown = (
        recovery(AuditedNetwork(network, audit_context), [])
        for network in (networks.original, networks.retrained[0])
    )
    assert list(known) == ["head", "shots-1", "shots-5"]
    assert known["shots-5"].value > 95
    assert unknown["shots-1"].value < 50
