"""The concentration of features, by hand and on a network's own rows."""

import math

import pytest
import torch

from tests.helpers.tiny import Networks
from unlearn.evaluation.audit import AuditContext, AuditedNetwork, AuditFigure
from unlearn.evaluation.concentration import Concentration, compute_concentration


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([[3.0, 1.0], [9.0, 1.0]], 1.0),  # one direction, whatever the distance
        ([[3.0, 1.0], [-7.0, 1.0]], 0.0),  # opposite directions
        ([[3.0, 1.0], [1.0, 9.0]], math.sqrt(0.5)),  # |((1, 0) + (0, 1)) / 2|
        ([[3.0, 1.0], [1.0, 1.0]], 0.5),  # the second row has no direction
        ([[1.0, 1.0]], 0.0),
    ],
)
def test_directions_from_the_centre(rows: list[list[float]], expected: float) -> None:
    found = compute_concentration(torch.tensor(rows), torch.tensor([1.0, 1.0]))
    assert found == pytest.approx(expected, abs=1e-6)


def test_the_audit_takes_penultimate_features_of_test_rows(
    audit_context: AuditContext, networks: Networks
) -> None:
    """Computed row by row in plain Python from the input of the last layer."""
    network = networks.original
    penultimate = {}
    for part in ("retain", "forget"):
        images = audit_context.select_rows(part).images
        with torch.no_grad():
            features = network.second(network.first(images)).mean(dim=(2, 3))
        penultimate[part] = features.double().tolist()
    centre = [sum(column) / 60 for column in zip(*penultimate["retain"], strict=True)]
    total = [0.0] * len(centre)
    for row in penultimate["forget"]:
        shifted = [x - m for x, m in zip(row, centre, strict=True)]
        length = math.sqrt(sum(x * x for x in shifted))
        total = [t + x / length for t, x in zip(total, shifted, strict=True)]
    expected = math.sqrt(sum(t * t for t in total)) / 50
    found = Concentration()(AuditedNetwork(network, audit_context), [])["forget"]
    assert isinstance(found, AuditFigure)
    assert found.value == pytest.approx(expected, abs=1e-6)
    assert 0.3 < found.value < 1
