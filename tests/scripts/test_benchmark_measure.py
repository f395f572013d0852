"""The benchmark's instruments on programs whose cost is known."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from scripts.benchmark import measure
from scripts.benchmark.measure import (
    Program,
    Timing,
    count_operations,
    measure_matrix_rate,
    measure_peak_memory,
    measure_shares,
    time_in_turn,
)

CPU = torch.device("cpu")


class Clock:
    """A clock that moves only when a program spends time on it."""

    def __init__(self) -> None:
        self.now = 0.0

    def spend(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that the benchmark reads."""
    clock = Clock()
    monkeypatch.setattr(measure, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    return clock


def test_operations_of_a_product_are_counted() -> None:
    left, right = torch.randn(30, 40), torch.randn(40, 50)
    assert count_operations(Program(lambda: left @ right, 1, 1)) == 2 * 30 * 40 * 50


def test_turns_alternate_and_last_long_enough(clock: Clock) -> None:
    order: list[str] = []

    def program(name: str, seconds: float) -> Program:
        return Program(lambda: (order.append(name), clock.spend(seconds)), 1, 1)

    timing = Timing(rounds=3, warmup=1, least=2.0)
    pairs = time_in_turn(program("slow", 2.0), program("fast", 0.5), timing, CPU)
    assert order == ["slow", "fast", *["slow", *["fast"] * 4] * 3]
    assert pairs == [(2.0, 0.5)] * 3


def test_the_matrix_rate_in_operations(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "mm", lambda left, right: clock.spend(0.5))
    assert measure_matrix_rate(CPU, torch.float32, size=64) == 2 * 64**3 / 0.5


def test_shares_follow_forward_and_backward() -> None:
    """Of two networks of one size, one is run six times."""
    torch.manual_seed(0)
    one, other = (nn.Sequential(nn.Linear(600, 600), nn.Linear(600, 600)) for _ in range(2))
    names = {one: "one", other: "other"}
    rows = torch.randn(400, 600)

    def step() -> None:
        (one(rows).sum() + sum(other(rows).sum() for _ in range(6))).backward()

    step()
    found = measure_shares(Program(step, 1, 1), lambda module: names.get(module), CPU)
    assert set(found) == {"one", "other", "rest"}
    assert found["other"] > found["one"] > 0


def test_peak_memory_forgets_what_was_before() -> None:
    big = measure_peak_memory(Program(lambda: torch.ones(50 * 2**20), 1, 1), CPU)
    small = measure_peak_memory(Program(lambda: torch.ones(2**20), 1, 1), CPU)
    if big is None or small is None:
        pytest.skip("peak memory can't be read on this system")
    assert big - small == pytest.approx(4 * 49, abs=20)
