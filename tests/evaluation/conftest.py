"""Small networks trained with and without class 0, and what metrics and audits are given."""

from pathlib import Path

import pandas as pd
import pytest

from tests.helpers.tiny import MakeRequest, Networks, trained
from unlearn.data.tensors import Data
from unlearn.evaluation.audit import AuditContext
from unlearn.evaluation.base import MetricContext


@pytest.fixture(scope="session")
def trained_once() -> dict[str, Networks]:
    return {}


@pytest.fixture
def networks(easy_data: Data, trained_once: dict[str, Networks]) -> Networks:
    if not trained_once:
        every, kept = (0, 1, 2, 3), (1, 2, 3)
        trained_once["all"] = Networks(
            trained(easy_data.train, every, 1, 6),
            trained(easy_data.train, every, 9, 6),
            [trained(easy_data.train, kept, seed, 6) for seed in range(2, 6)],
        )
    return trained_once["all"]


@pytest.fixture
def context(easy_data: Data, make_request: MakeRequest, tmp_path: Path) -> MetricContext:
    history = pd.DataFrame({"stage": [], "step": [], "forget": []})
    return MetricContext(make_request(), easy_data, history, None, ("a", "b", "c", "d"), tmp_path)


@pytest.fixture
def audit_context(easy_data: Data, make_request: MakeRequest, networks: Networks) -> AuditContext:
    request = make_request(teacher=networks.original)
    return AuditContext(request, easy_data, networks.judge, 60)
