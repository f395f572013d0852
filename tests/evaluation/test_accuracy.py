"""Accuracy on rows whose answers are known."""

import torch
import torch.nn.functional as F

from tests.helpers.tiny import CPU, Networks, WrittenNet, write_logits
from unlearn.evaluation.accuracy import Accuracy, AccuracyAudit, measure_accuracy
from unlearn.evaluation.audit import AuditContext, AuditedNetwork, AuditFigure
from unlearn.evaluation.base import MetricContext


def test_accuracy_is_weighted_by_row_not_by_class() -> None:
    labels = torch.tensor([1] * 9 + [2] + [0] * 4)
    answers = torch.tensor([1] * 9 + [3] + [0, 0, 0, 1])
    rows = write_logits(F.one_hot(answers, 4).float(), labels)
    assert measure_accuracy(WrittenNet(), rows, (0,), CPU) == {"retain": 90.0, "forget": 75.0}
    retain_rows = rows.only((1, 2))
    found = measure_accuracy(WrittenNet(), retain_rows, (0,), CPU)
    assert found == {"retain": 90.0, "forget": None}


def test_accuracy_covers_every_model_and_split(networks: Networks, context: MetricContext) -> None:
    found = Accuracy()(networks.models, context)
    assert set(found) == {"original", "retrained", "unlearned", "references"}
    assert found["references"] == []
    assert found["original"]["train"]["forget"] > 95
    assert found["retrained"]["test"]["forget"] == 0


def test_the_audits_accuracy_is_the_metrics(
    networks: Networks, context: MetricContext, audit_context: AuditContext
) -> None:
    """All 50 test rows of the forget class are within the 60 rows of a part."""
    expected = Accuracy()(networks.models, context)["original"]["test"]["forget"]
    found = AccuracyAudit()(AuditedNetwork(networks.original, audit_context), [])
    assert found["forget"] == AuditFigure(expected, 2.0)
