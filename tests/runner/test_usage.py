"""What a run takes: accuracies told, memory at its worst, and both again after a cut."""

from __future__ import annotations

import sys

import pytest
import torch

from tests.helpers.tiny import CPU
from unlearn.data.tensors import Data
from unlearn.runner.memory import PeakMemory
from unlearn.runner.usage import Usage

MIB = 2**20
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process's peak")


@linux
def test_memory_is_that_of_the_watched_blocks_alone() -> None:
    peak = PeakMemory(CPU.device)
    with peak.watched():
        torch.ones(40 * MIB // 4)
    torch.ones(200 * MIB // 4)
    with peak.watched():
        torch.ones(10 * MIB // 4)
    assert peak.resident is not None
    assert peak.added is not None
    assert 39 < peak.added < 100
    assert peak.resident > peak.added, "the process holds torch beside that"
    assert peak.cuda is None


def test_an_account_goes_on_where_it_was_cut_off(easy_data: Data) -> None:
    first, second = Usage(easy_data, CPU.device), Usage(easy_data, CPU.device)
    view = first.view("forget", (0,))
    assert view is not None
    assert len(view.images) == 100
    assert first.tell({"retain": 90.0, "forget": 1.0}).retain == 90.0
    first.memory.resident = 1e6
    second.take_up(first.plain())
    other = second.view("forget", (0,))
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
    account = Usage(None, CPU.device)
    assert account.view("none", (0,)) is None
    assert account.figures()["ledger"] == {"told": 0}
