"""The rows on which all networks of a run are audited."""

import torch

from unlearn.evaluation.audit import AuditContext


def test_the_parts_hold_rows_of_their_classes(audit_context: AuditContext) -> None:
    data = audit_context.data
    for part, classes, split, count in (
        ("retain", {1, 2, 3}, data.test, 60),
        ("forget", {0}, data.test, 50),
        ("members", {0}, data.train, 60),
    ):
        rows = audit_context.select_rows(part)
        assert len(rows) == count
        assert set(rows.labels.tolist()) == classes
        pool = split.only(tuple(classes)).images.flatten(1)
        assert all((pool == image).all(dim=1).any() for image in rows.images.flatten(1))
        assert audit_context.select_rows(part) is rows


def test_training_rows_are_drawn_by_class(audit_context: AuditContext) -> None:
    for per_class, expected in ((3, 3), (1000, 100)):
        rows = audit_context.draw_training_rows(per_class)
        assert torch.bincount(rows.labels).tolist() == [expected] * 4
