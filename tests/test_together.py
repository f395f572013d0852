"""Several requests as one computation: each member's student is that of its lone run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from tests.helpers.small_methods import small_gkt, small_noise
from tests.helpers.tiny import CPU, seeded_net
from unlearn.errors import RunError
from unlearn.filters.compose import Product
from unlearn.filters.entropy import EntropyFilter
from unlearn.filters.gate import ForgetGate
from unlearn.hardware import Hardware
from unlearn.methods.regrow import Regrowth
from unlearn.models.members import Members, each
from unlearn.protocol import Request, Together

MakeRequest = Callable[..., Request]
STACKED = dataclasses.replace(CPU, stacks=True)


gkt = partial(
    small_gkt,
    iterations=6,
    batch_size=24,
    student_steps=3,
    fresh_noise=True,
    fresh_readout=True,
)


def three(make: MakeRequest, **changes: Any) -> list[Request]:
    """Requests that differ in teacher, seed and forget class."""
    return [
        make(
            teacher=seeded_net(10 + index).requires_grad_(False),
            fresh=lambda index=index: seeded_net(20 + index),
            seed=index,
            forget=(index,),
            **changes,
        )
        for index in range(3)
    ]


def students(method: Together, requests: Sequence[Request]) -> list[dict[str, Tensor]]:
    """The last students of a computation of several requests."""
    steps = method.unlearn_together(requests)
    states = next(steps)
    while True:
        try:
            states = steps.send([None] * len(requests))
        except StopIteration:
            break
    found = []
    for state in states:
        assert state.student is not None
        found.append({k: v.clone() for k, v in state.student.state_dict().items()})
    return found


CASES = [
    {},
    {"batch_norm": "train", "target": "raw"},
    {"target": "postfilter", "temperature": 2.0, "fresh_noise": False},
    {"attention_weight": 0.0, "start": 0.0, "batch_norm": "train"},
]
# Before batch norm in train mode a bias has no gradient but rounding, which Adam blows up; the
# running mean takes it on.
WITHOUT_GRADIENT = {
    f"{layer}.{name}" for layer in ("first", "second") for name in ("0.bias", "1.running_mean")
}
FILTERS = [
    Product({}),
    Product({"gate": ForgetGate(0.3)}),
    Product({"entropy": EntropyFilter(0.5, "quantile"), "gate": ForgetGate(0.4)}),
]


IN_TURN_AND_STACKED = pytest.mark.parametrize(
    "hardware", [CPU, STACKED], ids=["in turn", "stacked"]
)


def same(found: list[dict[str, Tensor]], alone: list[dict[str, Tensor]], but: set[str]) -> None:
    """Equal within the rounding of sums, and to the bit where the same operations ran."""
    for one, other in zip(found, alone, strict=True):
        for name in other.keys() - but:
            torch.testing.assert_close(one[name], other[name], rtol=1e-3, atol=2e-5, msg=name)
    assert not torch.equal(alone[0]["head.weight"], alone[1]["head.weight"])


@IN_TURN_AND_STACKED
@pytest.mark.parametrize("changes", CASES, ids=str)
@pytest.mark.parametrize("kept", FILTERS, ids=str)
def test_gkt_of_three_members_is_three_lone_runs(
    make_request: MakeRequest, changes: dict[str, Any], kept: Product, hardware: Hardware
) -> None:
    method = gkt(**changes)
    alone = [students(method, [r])[0] for r in three(make_request, filter=kept)]
    found = students(method, three(make_request, filter=kept, hardware=hardware))
    same(found, alone, WITHOUT_GRADIENT if changes.get("batch_norm") == "train" else set())


@IN_TURN_AND_STACKED
def test_published_batch_norm_of_every_member_stays_after_an_iteration(
    make_request: MakeRequest, hardware: Hardware
) -> None:
    requests, name = three(make_request, hardware=hardware), "first.1.running_mean"
    once, often = (
        students(gkt(batch_norm="published", iterations=count), requests) for count in (1, 6)
    )
    for request, first, last in zip(requests, once, often, strict=True):
        assert not torch.equal(first[name], request.teacher.get_buffer(name))
        assert torch.equal(first[name], last[name])
        assert not torch.equal(first["head.weight"], last["head.weight"])


@IN_TURN_AND_STACKED
@pytest.mark.parametrize("batch_norm", ["train", "frozen"])
def test_noise_of_three_members_is_three_lone_runs(
    make_request: MakeRequest, batch_norm: Literal["train", "frozen"], hardware: Hardware
) -> None:
    method = small_noise(
        noises=6,
        noise_steps=12,
        maximised=0.5,
        patience=2,
        valid=True,
        fresh_readout=True,
        copies=2,
        learning_rate=0.05,
        repair_epochs=2,
        batch_norm=batch_norm,
    )
    alone = [students(method, [r])[0] for r in three(make_request)]
    found = students(method, three(make_request, hardware=hardware))
    same(found, alone, WITHOUT_GRADIENT if batch_norm == "train" else set())


@IN_TURN_AND_STACKED
@pytest.mark.parametrize(
    "changes", [{}, {"pool": 0, "batch_norm": "frozen", "depth": 1.0}], ids=str
)
def test_regrowth_of_three_members_is_three_lone_runs(
    make_request: MakeRequest, changes: dict[str, Any], hardware: Hardware
) -> None:
    settings: dict[str, Any] = {
        "pool": 2,
        "inversion_steps": 3,
        "inversion_learning_rate": 0.1,
        "tv_weight": 0.0001,
        "inverted_share": 0.5,
        "iterations": 4,
        "batch_size": 24,
        "student_steps": 2,
        "generator_steps": 1,
        "latent": 8,
        "generator_width": 4,
        "learning_rate": 0.003,
        "generator_learning_rate": 0.003,
        "clip": 0.5,
        "start": 0.9,
        "fresh_readout": True,
        "gate": 0.9,
        "depth": 0.0,  # whose shift would take on what batch norm does to the noise
        "target": "masked",
        "postfilter_threshold": 0.01,
        "batch_norm": "train",
        "batch_norm_prior": 0.1,
        "first_layer_factor": 10.0,
    }
    method = Regrowth(**{**settings, **changes})
    alone = [students(method, [r])[0] for r in three(make_request)]
    found = students(method, three(make_request, hardware=hardware))
    same(found, alone, set() if changes else WITHOUT_GRADIENT)


def test_in_turn_is_the_lone_run_to_the_bit(make_request: MakeRequest) -> None:
    alone = [students(gkt(), [r])[0] for r in three(make_request)]
    for one, other in zip(students(gkt(), three(make_request)), alone, strict=True):
        assert all(torch.equal(one[name], value) for name, value in other.items())


def test_a_member_that_cannot_go_on_stops_the_computation(make_request: MakeRequest) -> None:
    """The runner then runs all of them alone, where that one gets fresh generators."""
    requests = three(make_request, filter=Product({"gate": ForgetGate(0.0)}))
    with pytest.raises(RunError, match="after 0 fresh generators"):
        students(gkt(iterations=100, student_steps=1), requests)


def test_each_hands_every_member_its_own_slice() -> None:
    networks = [seeded_net(seed) for seed in range(3)]
    images = torch.randn(3, 5, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    scale = torch.tensor([1.0, 2.0, 3.0])
    for stacked in (False, True):
        members = Members(networks, CPU, stacked=stacked)
        found = each(lambda m, x, s: {"logits": (m(x) * s,)}, [members], images, scale)
        wanted = [n(x) * s for n, x, s in zip(networks, images, scale, strict=True)]
        torch.testing.assert_close(found["logits"][0], torch.stack(wanted))


def test_gradients_are_clipped_by_member() -> None:
    for stacked in (False, True):
        members = Members([seeded_net(seed) for seed in range(2)], CPU, stacked=stacked)
        images = torch.randn(2, 5, 1, 8, 8, generator=torch.Generator().manual_seed(1))
        loss = each(lambda m, x: m(x).square().sum(), [members], images)
        (loss * torch.tensor([1e-6, 1e3])).sum().backward()
        gradients = [p.grad for p in members.parameters()]
        before = _norms(gradients, stacked)
        members.clip_gradients(0.5)
        after = _norms(gradients, stacked)
        assert before[0] < 0.5 < before[1]
        assert after == [pytest.approx(before[0]), pytest.approx(0.5, rel=1e-4)]


def _norms(gradients: list[Tensor | None], stacked: bool) -> list[float]:
    own = [g for g in gradients if g is not None]
    if stacked:
        return [torch.cat([g[i].flatten() for g in own]).norm().item() for i in range(2)]
    half = len(own) // 2
    return [
        torch.cat([g.flatten() for g in part]).norm().item() for part in (own[:half], own[half:])
    ]


def test_unstacking_gives_the_weights_and_statistics_back() -> None:
    networks = [seeded_net(seed).train() for seed in range(2)]
    lone_networks = [seeded_net(seed).train() for seed in range(2)]
    images = torch.randn(2, 9, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    members = Members(networks, CPU, stacked=True)
    each(lambda m, x: m(x), [members], images)
    for network, alone, x in zip(members.unstacked(), lone_networks, images, strict=True):
        alone(x)
        for name, value in alone.state_dict().items():
            torch.testing.assert_close(network.state_dict()[name], value)
