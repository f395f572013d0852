"""What a method uses: accuracies told, peak memory, and both after an interruption."""

from __future__ import annotations

import sys

import pytest
import torch

from tests.helpers.tiny import CPU
from unlearn.data.tensors import Data
from unlearn.runner.usage import PeakMemory, Usage

MIB = 2**20
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process's peak")


@linux
def test_memory_is_that_of_the_watched_blocks_alone() -> None:
    peak = PeakMemory(CPU.device)
    with peak.measuring():
        torch.ones(40 * MIB // 4)
    torch.ones(200 * MIB // 4)
    with peak.measuring():
        torch.ones(10 * MIB // 4)
    assert peak.resident is not None
    assert peak.added is not None
    assert 39 < peak.added < 100
    assert peak.resident > peak.added, "the process holds torch beside that"
    assert peak.cuda is None


def test_usage_goes_on_where_it_was_cut_off(easy_data: Data) -> None:
    first, second = Usage(easy_data, CPU.device), Usage(easy_data, CPU.device)
    view = first.grant("forget", (0,))
    assert view is not None
    assert len(view.images) == 100
    assert first.tell({"retain": 90.0, "forget": 1.0}).retain == 90.0
    first.memory.resident = 1e6
    second.restore(first.plain())
    other = second.grant("forget", (0,))
    assert other is not None
    assert len(other.labels) == 100
    found = second.figures()
    assert found["ledger"] == {
        "told": 1,
        "images": 100,
        "labels": 100,
        "images_per_class": [100, 0, 0, 0],
    }
    assert found["peak_memory"]["resident"] == 1e6


def test_without_a_data_set_there_is_nothing_to_read() -> None:
    usage = Usage(None, CPU.device)
    assert usage.grant("none", (0,)) is None
    assert usage.figures()["ledger"] == {"told": 0}
