"""The degenerate baselines: networks that answer no forgotten class and keep all its features."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from tests.helpers.small_methods import small_noise
from tests.helpers.tiny import TinyNet, seeded_net
from unlearn.errors import RunError
from unlearn.filters.compose import Product
from unlearn.filters.gate import ForgetGate
from unlearn.methods.head_only import HeadOnly
from unlearn.methods.masked_logit import MaskedLogit
from unlearn.methods.noise import ErrorNoise
from unlearn.protocol import Request

MakeRequest = Callable[..., Request]


def head_only(**changes: Any) -> HeadOnly:
    settings: dict[str, Any] = {
        "images": 6,
        "inversion_steps": 10,
        "inversion_learning_rate": 0.1,
        "tv_weight": 0.002,
        "epochs": 60,
        "batch_size": 12,
        "learning_rate": 0.05,
    }
    return HeadOnly(**{**settings, **changes})


def student_of(method: Any, request: Request) -> TinyNet:
    assert method.access == "none"
    student: TinyNet = list(method.unlearn(request, None))[-1].student.eval()
    return student


@pytest.mark.parametrize("forget", [(0,), (1, 3)])
def test_a_masked_logit_is_constant_and_the_others_are_the_teachers(
    make_request: MakeRequest, forget: tuple[int, ...]
) -> None:
    request = make_request(forget=forget)
    student = student_of(MaskedLogit(bias=-20.0), request)
    images = torch.randn(50, 1, 8, 8)
    with torch.no_grad():
        logits, taught = student(images), request.teacher(images)
    assert (logits[:, list(forget)] == -20).all()
    kept = list(request.retain)
    assert torch.equal(logits[:, kept], taught[:, kept])


@pytest.mark.parametrize("batch_norm", [True, False])
def test_the_head_alone_forgets_and_all_before_it_stays(
    make_request: MakeRequest, batch_norm: bool
) -> None:
    request = make_request(batch_norm=batch_norm)
    states = list(head_only().unlearn(request, None))
    student, samples = states[-1].student, states[-1].samples
    assert [s.stage for s in states] == ["invert"] * 10 + ["distil"] * 60
    assert isinstance(student, TinyNet)
    assert samples is not None
    with torch.no_grad():
        answered, taught = student(samples.images), request.teacher(samples.images)
    target = taught.masked_fill(request.forget_mask, -torch.inf).softmax(1)
    assert (answered.argmax(1) != 0).all()
    assert (answered.softmax(1) - target).abs().mean() < (taught.softmax(1) - target).abs().mean()
    for name, value in student.state_dict().items():
        same = torch.equal(value, request.teacher.state_dict()[name])
        assert same != name.startswith("head"), name


@pytest.mark.parametrize("method", [MaskedLogit(bias=-20.0), head_only()])
def test_a_network_without_a_linear_readout_is_refused(
    make_request: MakeRequest, method: MaskedLogit | HeadOnly
) -> None:
    network = seeded_net(1)
    pooled = nn.Sequential(network.first, nn.Conv2d(6, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    request = make_request(teacher=pooled.requires_grad_(False).eval(), attention=("0",))
    with pytest.raises(RunError, match="Sequential has no linear layer"):
        list(method.unlearn(request, None))


@pytest.mark.parametrize("method", [head_only(), small_noise(repair_epochs=1)])
def test_a_method_whose_filter_drops_everything_does_not_pass_for_done(
    make_request: MakeRequest, method: HeadOnly | ErrorNoise
) -> None:
    request = make_request(filter=Product({"gate": ForgetGate(0.0)}))
    with pytest.raises(RunError, match=r"lets none of \d+ samples through; raise filter\.gate"):
        list(method.unlearn(request, None))
