"""EMMN: the noises' losses and plateaus, impair and repair, against NumPy and by hand."""

import copy
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import special
from torch import Tensor

from tests.helpers.methods import build, drain, run, student_of
from tests.helpers.tiny import MakeRequest
from unlearn.errors import ConfigError
from unlearn.protocol import Request
from unlearn.synthesis.noise import ClassNoises


def noises(**changes: Any) -> ClassNoises:
    settings: dict[str, Any] = {
        "noises": 8,
        "steps": 30,
        "learning_rate": 0.1,
        "regularisation": 0.1,
        "patience": 3,
        "maximised": 1.0,
        "valid": False,
    }
    return ClassNoises(**{**settings, **changes})


def optimised(synthesis: ClassNoises, request: Request, seed: int) -> Tensor:
    """The noises (K, n, C, H, W) after all steps."""
    return drain(synthesis.optimise(request, torch.Generator().manual_seed(seed)))[1]


def cross_entropies(request: Request, images: Tensor) -> np.ndarray[Any, Any]:
    """Mean CE of each class's noises (K, n, C, H, W) under the teacher, in NumPy."""
    found = []
    for label, rows in enumerate(images):
        log_p = special.log_softmax(request.teacher(rows).detach().numpy(), axis=1)
        found.append(-log_p[:, label].mean())
    return np.array(found)


@pytest.mark.parametrize(("maximised", "forget"), [(1.0, (0, 2)), (0.25, (2,))])
def test_noises_that_maximise_are_regularised_and_the_others_minimise(
    make_request: MakeRequest, maximised: float, forget: tuple[int, ...]
) -> None:
    request = make_request(forget=forget)
    images = torch.randn(4, 8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = cross_entropies(request, images)
    count = round(8 * maximised)
    for label in forget:
        logits = request.teacher(images[label]).detach().numpy()
        log_p = special.log_softmax(logits, axis=1)[:, label]
        norms = (images[label].numpy() ** 2).sum(axis=(1, 2, 3))
        losses = [0.1 * norms[:count] + log_p[:count], -log_p[count:]]
        expected[label] = np.concatenate(losses).mean()
    losses_of = noises(maximised=maximised).losses
    found = losses_of(request.teacher, images, torch.arange(4), request.forget_mask)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_minimising_noises_are_answered_with_their_class(
    make_request: MakeRequest,
) -> None:
    request = make_request()
    images = optimised(noises(maximised=0.0, steps=60), request, 0)
    shared = optimised(noises(maximised=0.5, steps=60, regularisation=0.0), request, 0)
    with torch.no_grad():
        assert (request.teacher(images[0]).argmax(dim=1) == 0).all()
        answers = request.teacher(shared[0]).argmax(dim=1)
    assert (answers[:4] != 0).all()
    assert (answers[4:] == 0).all()


def test_valid_noises_stay_between_black_and_white(make_request: MakeRequest) -> None:
    request = make_request()
    for count in (1, 30):
        found = optimised(noises(valid=True, steps=count), request, 0)
        assert request.lowest <= found.min() < found.max() <= request.highest
    assert optimised(noises(), request, 0).max() > request.highest


def test_optimising_minimises_retain_and_maximises_forget_error(make_request: MakeRequest) -> None:
    request = make_request()
    first, last = (
        cross_entropies(request, optimised(noises(regularisation=0.0, steps=count), request, 0))
        for count in (1, 30)
    )
    assert (last[1:] < first[1:]).all()
    assert last[0] > first[0]


def test_the_forget_noises_shrink_under_the_regulariser(make_request: MakeRequest) -> None:
    images = optimised(noises(regularisation=1.0, steps=60), make_request(), 0)
    assert images[0].norm() < 0.5 * images[1].norm()


def test_a_class_on_a_plateau_alone_has_its_rate_halved() -> None:
    synthesis = noises(patience=2)
    optimizer = torch.optim.Adam([{"params": [torch.zeros(1)]} for _ in range(3)], lr=0.1)
    stale = torch.tensor([0.0, 2.0, 1.0])
    synthesis._halve(optimizer, stale)
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.05, 0.1]
    assert stale.tolist() == [0, 0, 1]


method = partial(build, "noise", noises=8, noise_steps=3, batch_size=1000, learning_rate=0.05)


def test_impair_is_one_sgd_step_on_every_noise_and_its_own_class(make_request: MakeRequest) -> None:
    request = make_request()
    found = run(method(), request)
    assert [s.stage for s in found] == ["noise", "noise", "noise", "impair"]
    assert all(s.student is None for s in found[:3]), "nothing is changed while noises are made"
    images = optimised(noises(steps=3, patience=10), request, request.seed)
    features = request.teacher.second(request.teacher.first(images.flatten(0, 1)))
    pooled = features.mean(dim=(2, 3)).detach().double().numpy()
    head = request.teacher.head
    weight = head.weight.detach().double().numpy()
    p = special.softmax(pooled @ weight.T + head.bias.detach().double().numpy(), axis=1)
    labels = np.repeat(np.arange(4), 8)
    gradient = (p - np.eye(4)[labels]).T @ pooled / len(labels)
    student = found[-1].student
    np.testing.assert_allclose(
        student.get_parameter("head.weight").detach(), weight - 0.05 * gradient, atol=1e-5
    )


def test_impair_leaves_out_the_forget_noises_that_minimise(make_request: MakeRequest) -> None:
    """With none that maximise it is the step on the retain classes' noises alone."""
    request = make_request()
    found = student_of(run(method(maximised=0.0), request))
    images = optimised(noises(steps=3, patience=10, maximised=0.0), request, request.seed)
    student = copy.deepcopy(request.teacher).requires_grad_(True)
    labels = torch.arange(4).repeat_interleave(8)[8:]
    F.cross_entropy(student(images.flatten(0, 1)[8:]), labels).backward()
    head = student.get_parameter("head.weight")
    torch.testing.assert_close(found.get_parameter("head.weight"), head - 0.05 * head.grad)


def test_without_impair_the_repair_starts_at_the_teacher(make_request: MakeRequest) -> None:
    request = make_request()
    changes = {"impair": False, "repair_epochs": 1, "repair_learning_rate": 1e-12}
    found = run(method(**changes), request)
    assert [s.stage for s in found] == ["noise"] * 3 + ["repair"]
    student = found[-1].student
    for name, weight in request.teacher.named_parameters():
        torch.testing.assert_close(student.get_parameter(name), weight, msg=name)


def test_neither_impair_nor_repair_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"method\.repair_epochs=0: at least 1"):
        method(impair=False)


def test_repair_on_minimising_noises_unlearns_the_class(make_request: MakeRequest) -> None:
    """The student no longer gives the forget class to what the teacher gives it to."""
    request = make_request()
    settings = {"maximised": 0.0, "impair": False, "noise_steps": 60, "valid": True}
    settings |= {"repair_epochs": 30, "batch_size": 16, "repair_learning_rate": 0.01}
    student = student_of(run(method(**settings), request))
    unseen = optimised(noises(maximised=0.0, steps=60, valid=True), request, 99)
    with torch.no_grad():
        taught = request.teacher(unseen.flatten(0, 1)).argmax(dim=1)
        learned = student(unseen.flatten(0, 1)).argmax(dim=1)
    assert (taught[:8] == 0).all()
    assert (learned != 0).all()
    assert (learned == taught)[8:].double().mean() > 0.9


def test_repair_brings_the_student_to_the_masked_teacher(make_request: MakeRequest) -> None:
    request = make_request()
    found = run(method(repair_epochs=40, batch_size=16, repair_learning_rate=0.01), request)
    repairs = [float(s.scalars["repair"]) for s in found if s.stage == "repair"]
    assert len(repairs) == 40
    assert repairs[-1] < 0.5 * repairs[0]


def test_copies_repeat_every_noise(make_request: MakeRequest) -> None:
    """Three copies at once are one step on the same mean gradient; in turn they are three steps."""
    request = make_request()
    one, at_once, in_turn = (
        student_of(run(method(**changes), request))
        for changes in ({}, {"copies": 3}, {"copies": 3, "batch_size": 32})
    )
    key = "head.weight"
    torch.testing.assert_close(one.get_parameter(key), at_once.get_parameter(key))
    assert not torch.allclose(one.get_parameter(key), in_turn.get_parameter(key), atol=1e-4)


def test_the_teacher_is_untouched(make_request: MakeRequest) -> None:
    request = make_request()
    before = {k: v.clone() for k, v in request.teacher.state_dict().items()}
    run(method(batch_norm="train", repair_epochs=1), request)
    assert all(torch.equal(v, before[k]) for k, v in request.teacher.state_dict().items())
