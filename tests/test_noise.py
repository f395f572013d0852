"""EMMN: the noises' losses and plateaus, impair and repair, against NumPy and by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy import special
from torch import Tensor

from unlearn.methods.base import State
from unlearn.methods.noise import ErrorNoise
from unlearn.models.members import Members
from unlearn.request import Request
from unlearn.synthesis.noise import ClassNoises

MakeRequest = Callable[..., Request]


def noises(**changes: Any) -> ClassNoises:
    settings: dict[str, Any] = {
        "noises": 8,
        "steps": 30,
        "learning_rate": 0.1,
        "regularisation": 0.1,
        "patience": 3,
    }
    return ClassNoises(**{**settings, **changes})


def optimised(synthesis: ClassNoises, request: Request, seed: int) -> list[Tensor]:
    """The noises (K, n, C, H, W) of one request after each step."""
    teachers = Members([request.teacher], request.hardware)
    random = torch.Generator().manual_seed(seed)
    return [images[0] for _, images, _ in synthesis.optimise(teachers, [request], [random])]


def cross_entropies(request: Request, images: Tensor) -> np.ndarray[Any, Any]:
    """Mean CE of each class's noises (K, n, C, H, W) under the teacher, in NumPy."""
    found = []
    for label, rows in enumerate(images):
        log_p = special.log_softmax(request.teacher(rows).detach().numpy(), axis=1)
        found.append(-log_p[:, label].mean())
    return np.array(found)


def test_each_class_has_its_own_loss(make_request: MakeRequest) -> None:
    request = make_request(forget=(0, 2))
    images = torch.randn(4, 8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = cross_entropies(request, images)
    for forgotten in (0, 2):
        norm = (images[forgotten].numpy() ** 2).sum(axis=(1, 2, 3)).mean()
        expected[forgotten] = 0.1 * norm - expected[forgotten]
    teacher = Members([request.teacher], request.hardware).member(0)
    found = noises().losses(teacher, images, request.forget_mask)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_optimising_minimises_retain_and_maximises_forget_error(make_request: MakeRequest) -> None:
    request = make_request()
    steps = optimised(noises(regularisation=0.0), request, 0)
    first, last = (cross_entropies(request, steps[i]) for i in (0, -1))
    assert (last[1:] < first[1:]).all()
    assert last[0] > first[0]


def test_the_forget_noises_shrink_under_the_regulariser(make_request: MakeRequest) -> None:
    images = optimised(noises(regularisation=1.0, steps=60), make_request(), 0)[-1]
    assert images[0].norm() < 0.5 * images[1].norm()


def test_a_class_on_a_plateau_alone_has_its_rate_halved() -> None:
    synthesis = noises(patience=2)
    optimizer = torch.optim.Adam([{"params": [torch.zeros(1)]} for _ in range(3)], lr=0.1)
    stale = torch.tensor([0.0, 2.0, 1.0])
    synthesis._halve(optimizer, stale)
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.05, 0.1]
    assert stale.tolist() == [0, 0, 1]


def method(**changes: Any) -> ErrorNoise:
    settings: dict[str, Any] = {
        "noises": 8,
        "noise_steps": 3,
        "noise_learning_rate": 0.1,
        "regularisation": 0.1,
        "patience": 10,
        "copies": 1,
        "batch_size": 1000,
        "epochs": 1,
        "learning_rate": 0.05,
        "repair_epochs": 0,
        "repair_learning_rate": 0.001,
        "batch_norm": "frozen",
    }
    return ErrorNoise(**{**settings, **changes})


def states(m: ErrorNoise, request: Request) -> list[State]:
    return list(m.unlearn(request, None))


def test_impair_is_one_sgd_step_on_every_noise_and_its_own_class(make_request: MakeRequest) -> None:
    request = make_request()
    found = states(method(), request)
    assert [s.stage for s in found] == ["noise", "noise", "noise", "impair"]
    assert all(s.student is None for s in found[:3]), "nothing is changed while noises are made"
    images = optimised(noises(steps=3, patience=10), request, request.seed)[-1]
    features = request.teacher.second(request.teacher.first(images.flatten(0, 1)))  # type: ignore[operator]
    pooled = features.mean(dim=(2, 3)).detach().double().numpy()
    head = request.teacher.head
    assert isinstance(head, torch.nn.Linear)
    weight = head.weight.detach().double().numpy()
    p = special.softmax(pooled @ weight.T + head.bias.detach().double().numpy(), axis=1)
    labels = np.repeat(np.arange(4), 8)
    gradient = (p - np.eye(4)[labels]).T @ pooled / len(labels)
    student = found[-1].student
    assert student is not None
    np.testing.assert_allclose(
        student.get_parameter("head.weight").detach(), weight - 0.05 * gradient, atol=1e-5
    )


def test_repair_brings_the_student_to_the_masked_teacher(make_request: MakeRequest) -> None:
    request = make_request()
    found = states(method(repair_epochs=40, batch_size=16, repair_learning_rate=0.01), request)
    repairs = [float(s.scalars["repair"]) for s in found if s.stage == "repair"]
    assert len(repairs) == 40
    assert repairs[-1] < 0.5 * repairs[0]


def test_copies_repeat_every_noise(make_request: MakeRequest) -> None:
    """Three copies at once are one step on the same mean gradient; in turn they are three steps."""
    request = make_request()
    one, at_once, in_turn = (
        states(method(**changes), request)[-1].student
        for changes in ({}, {"copies": 3}, {"copies": 3, "batch_size": 32})
    )
    assert one is not None
    assert at_once is not None
    assert in_turn is not None
    key = "head.weight"
    torch.testing.assert_close(one.get_parameter(key), at_once.get_parameter(key))
    assert not torch.allclose(one.get_parameter(key), in_turn.get_parameter(key), atol=1e-4)


def test_the_teacher_is_untouched(make_request: MakeRequest) -> None:
    request = make_request()
    before = {k: v.clone() for k, v in request.teacher.state_dict().items()}
    states(method(batch_norm="train", repair_epochs=1), request)
    assert all(torch.equal(v, before[k]) for k, v in request.teacher.state_dict().items())
