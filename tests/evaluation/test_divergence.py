"""Jensen-Shannon divergence against SciPy, and between networks."""

import numpy as np
import torch
from scipy.spatial.distance import jensenshannon
from scipy.special import softmax

from tests.helpers.tiny import Networks
from unlearn.evaluation.base import MetricContext, Models
from unlearn.evaluation.divergence import Divergence, compute_jensen_shannon


def test_jensen_shannon_against_scipy() -> None:
    generator = np.random.default_rng(0)
    p, q = (softmax(4 * generator.standard_normal((50, 6)), axis=1) for _ in range(2))
    expected = jensenshannon(p, q, axis=1, base=2) ** 2
    found = compute_jensen_shannon(torch.from_numpy(p), torch.from_numpy(q))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    disjoint = compute_jensen_shannon(torch.eye(2).double(), torch.eye(2).double().flip(0))
    np.testing.assert_allclose(disjoint, 1.0)


def test_divergence_is_split_by_class(networks: Networks, context: MetricContext) -> None:
    original, retrained = networks.original, networks.retrained[0]
    same = Divergence()(Models(original, retrained, retrained), context)
    assert same == {"retain": 0.0, "forget": 0.0, "floor": {"retain": None, "forget": None}}
    other = Divergence()(Models(original, retrained, original), context)
    assert other["forget"] > 0.3 > 0.1 > other["retain"]
    floor = Divergence()(Models(original, retrained, retrained, (original,) * 2), context)["floor"]
    assert floor == {"retain": other["retain"], "forget": other["forget"]}
