"""Requests and data for the unit tests, small and real."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.helpers.paths import CONF
from tests.helpers.tiny import MakeRequest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # several tests run side by side on the cores

import pytest
import torch
from hydra import initialize_config_dir
from torch import Tensor

from tests.helpers.tiny import CLASSES, CPU, seeded_net
from unlearn.data.source import RawImages
from unlearn.data.tensors import Data, prepare
from unlearn.filters.compose import Product
from unlearn.protocol import Request


@pytest.hookimpl(tryfirst=True)  # before pytest deselects by markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that start commands of their own as `end_to_end`."""
    tests = Path(__file__).parent
    for item in items:
        if item.path.relative_to(tests).parts[0] in ("end_to_end", "slurm"):
            item.add_marker("end_to_end")


@pytest.fixture
def composing() -> Iterator[None]:
    """Hydra set up for `compose` over this repository's conf/."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


@pytest.fixture
def make_request() -> MakeRequest:
    """A request on a tiny teacher; keyword arguments replace its fields."""

    def make(**changes: Any) -> Request:
        batch_norm = changes.pop("batch_norm", True)
        fields: dict[str, Any] = {
            "teacher": seeded_net(1, batch_norm).requires_grad_(False),
            "fresh": lambda: seeded_net(2, batch_norm),
            "forget": (0,),
            "num_classes": CLASSES,
            "shape": (1, 8, 8),
            "lowest": torch.full((1, 1, 1), -0.8),
            "highest": torch.full((1, 1, 1), 1.7),
            "attention": ("first", "second"),
            "filter": Product({}),
            "hardware": CPU,
            "seed": 5,
        }
        return Request(**{**fields, **changes})

    return make


@pytest.fixture
def easy_data() -> Data:
    """Four classes, each a bright quadrant: 400 training and 200 test images."""
    generator = torch.Generator().manual_seed(3)

    def draw(count: int) -> tuple[Tensor, Tensor]:
        labels = torch.arange(count) % CLASSES
        images = torch.randint(0, 90, (count, 1, 8, 8), generator=generator)
        for row, label in enumerate(labels.tolist()):
            top, left = 4 * (label // 2), 4 * (label % 2)
            images[row, 0, top : top + 4, left : left + 4] += 150
        return images.to(torch.uint8), labels

    raw = RawImages(*draw(400), *draw(200))
    return prepare(
        raw,
        num_classes=CLASSES,
        mean=(0.4,),
        std=(0.3,),
        validation=0.0,
        seed=0,
        device=CPU.device,
    )
