"""The benchmark's instruments on programs whose cost is known."""

from __future__ import annotations

import time

import pytest
import torch
from torch import nn

from scripts.benchmark.measure import (
    Program,
    matrix_rate,
    multiplications,
    paired,
    peak_memory,
    shares,
)

CPU = torch.device("cpu")


def test_operations_of_a_product_are_counted() -> None:
    left, right = torch.randn(30, 40), torch.randn(40, 50)
    assert multiplications(Program(lambda: left @ right, 1, 1)) == 2 * 30 * 40 * 50


def test_turns_alternate_and_last_long_enough() -> None:
    order: list[str] = []

    def spend(name: str, seconds: float) -> None:
        order.append(name)
        time.sleep(seconds)

    slow = Program(lambda: spend("slow", 0.02), 1, 1)
    quick = Program(lambda: spend("quick", 0.005), 1, 1)
    pairs = paired(slow, quick, rounds=3, warmup=1, least=0.02, device=CPU)
    assert order[:2] == ["slow", "quick"]
    turns = [name for i, name in enumerate(order[2:]) if i == 0 or order[2:][i - 1] != name]
    assert turns == ["slow", "quick"] * 3
    assert order.count("quick") >= 1 + 3 * 2
    for one, other in pairs:
        assert 0.02 <= one < 0.1
        assert 0.005 <= other < 0.05


def test_the_matrix_rate_is_operations_over_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "mm", lambda left, right: time.sleep(0.02))
    assert matrix_rate(CPU, torch.float32, size=64) == pytest.approx(2 * 64**3 / 0.02, rel=0.1)


def test_shares_follow_forward_and_backward() -> None:
    """Two networks of one size, one of them run three times: a quarter and three quarters."""
    torch.manual_seed(0)
    one, other = (nn.Sequential(nn.Linear(600, 600), nn.Linear(600, 600)) for _ in range(2))
    names = {one: "one", other: "other"}
    rows = torch.randn(400, 600)

    def step() -> None:
        (one(rows).sum() + sum(other(rows).sum() for _ in range(3))).backward()

    step()
    ratios = []
    for _ in range(5):  # a busy machine may stop any one of them in the middle of a part
        found = shares(Program(step, 1, 1), lambda module: names.get(module), CPU)  # type: ignore[call-overload]
        assert sum(found.values()) == pytest.approx(1, abs=0.05)
        ratios.append(found["other"] / found["one"])
    assert sorted(ratios)[2] == pytest.approx(3, rel=0.5)


def test_peak_memory_forgets_what_was_before() -> None:
    big = peak_memory(Program(lambda: torch.ones(50 * 2**20), 1, 1), CPU)
    small = peak_memory(Program(lambda: torch.ones(2**20), 1, 1), CPU)
    if big is None or small is None:
        pytest.skip("peak memory can't be read on this system")
    assert big - small == pytest.approx(4 * 49, abs=20)
