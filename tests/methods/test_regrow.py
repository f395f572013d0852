"""Regrowth: its losses against NumPy, what its batches hold, and where the readout settles."""

from functools import partial

import numpy as np
import pytest
import torch
from scipy import special
from torch import nn

from tests.helpers.methods import build, run, student_of
from tests.helpers.reference import batch_norm_prior, masked_divergence
from tests.helpers.tiny import CLASSES, CPU, MakeRequest, seeded_net
from unlearn.filters.compose import Product
from unlearn.filters.entropy import EntropyFilter
from unlearn.filters.gate import ForgetGate
from unlearn.methods.regrow import RegrowthTrainer
from unlearn.training.student import absent_class_level, set_forget_level

method = partial(build, "regrow")


@pytest.mark.parametrize("gate", [None, 0.23])
def test_the_generators_loss_by_hand(make_request: MakeRequest, gate: float | None) -> None:
    request = make_request()
    with RegrowthTrainer(method(batch_norm="frozen", gate=gate), request) as trainer:
        noise = trainer.draw_noise(16)
        loss = trainer.generator_loss(noise)
        images = trainer.generator(noise)
        expected = 0.1 * batch_norm_prior(request.teacher, images, 10.0)
        answers = request.teacher(images)
        kept = answers.softmax(1)[:, 0] <= (gate or 1.0)
        expected -= masked_divergence(answers, trainer.student(images), kept.numpy())
    assert kept.sum() == 16 if gate is None else 0 < kept.sum() < 16
    assert loss.item() == pytest.approx(expected, rel=1e-4)


def test_half_of_a_batch_is_inverted_images_of_every_class(make_request: MakeRequest) -> None:
    request = make_request()
    with RegrowthTrainer(method(), request) as trainer:
        list(trainer.fill_pool())
        pooled = trainer.pool
        images, logits, target, *_ = trainer.draw_batch()
    assert len(pooled) == 3 * CLASSES
    assert len(images) == 16
    inside = [any(torch.equal(image, known) for known in pooled) for image in images]
    assert inside == [False] * 8 + [True] * 8
    torch.testing.assert_close(logits, request.teacher(images), rtol=1e-4, atol=1e-5)
    assert target[:, 0].eq(0).all()
    torch.testing.assert_close(target.sum(1), torch.ones(16))


def test_inverted_images_come_to_look_like_their_classes(make_request: MakeRequest) -> None:
    """The forgotten class's too, though the untrained teacher calls few images by its name."""
    labels = torch.arange(CLASSES).repeat(8)
    own = []
    for steps in (1, 100):
        with RegrowthTrainer(method(inversion_steps=steps, pool=8), make_request()) as trainer:
            list(trainer.fill_pool())
        own.append(trainer.pool_logits.log_softmax(1)[torch.arange(32), labels])
    gained = own[1] - own[0]
    assert all(gained[labels == k].mean() > 0.05 for k in range(CLASSES))


def test_without_a_pool_all_is_generated(make_request: MakeRequest) -> None:
    states = run(method(pool=0), make_request())
    assert [state.stage for state in states] == ["regrow"] * 3
    assert run(method(), make_request())[0].stage == "invert"


@pytest.mark.parametrize("batch_norm", ["train", "frozen"])
def test_batch_norm_moves_in_train_mode_alone(make_request: MakeRequest, batch_norm: str) -> None:
    request = make_request()
    student = student_of(run(method(batch_norm=batch_norm), request))
    kept = torch.equal(student.second[1].running_mean, request.teacher.second[1].running_mean)
    assert kept == (batch_norm == "frozen")


def test_a_network_without_batch_norm_needs_no_other_setting(make_request: MakeRequest) -> None:
    student = student_of(run(method(), make_request(batch_norm=False)))
    assert all(torch.isfinite(p).all() for p in student.parameters())


def test_the_student_approaches_the_masked_teacher(
    make_request: MakeRequest,
) -> None:
    request = make_request()
    images = torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(9))
    start = method(depth=0.0, iterations=1, student_steps=1, learning_rate=1e-6)
    before = student_of(run(start, request))
    after = student_of(run(method(iterations=40, student_steps=5), make_request()))
    with torch.no_grad():
        answers = request.teacher(images)
        after_all, at_first = (masked_divergence(answers, s(images)) for s in (after, before))
        assert after_all < 0.5 * at_first
        assert (after(images).argmax(1) != 0).all()


def test_rows_that_the_filter_drops_weigh_nothing(make_request: MakeRequest) -> None:
    request = make_request(filter=Product({"gate": ForgetGate(0.2)}))
    with RegrowthTrainer(method(), request) as trainer:
        batch = trainer.draw_batch()
    mass = request.teacher(batch.images).softmax(1)[:, 0]
    assert torch.equal(batch.weights > 0, mass <= 0.2)


@pytest.mark.parametrize("gate", [0.2, 0.23])
def test_the_gate_drops_forget_class_images(make_request: MakeRequest, gate: float) -> None:
    """Of inverted and of generated images; beside the filter."""
    request = make_request(filter=Product({"entropy": EntropyFilter(0.7, "quantile")}))
    with RegrowthTrainer(method(gate=gate), request) as trainer:
        list(trainer.fill_pool())
        batch = trainer.draw_batch()
    mass = request.teacher(batch.images).softmax(1)[:, 0]
    passed = request.filter(batch.logits, request.forget_mask) > 0
    assert torch.equal(batch.weights > 0, passed & (mass <= gate))
    assert (passed & (mass > gate)).any()
    assert (passed & (mass <= gate)).any()


def test_the_level_is_the_mean_log_probability_of_the_least_likely_class() -> None:
    logits = np.array([[0.0, 1.0, 3.0], [2.0, -1.0, 0.5]])
    expected = np.log(special.softmax(logits, axis=1)).min(axis=1).mean()
    assert absent_class_level(torch.tensor(logits)).item() == pytest.approx(expected)


@pytest.mark.parametrize("forget", [(0,), (1, 3)])
@pytest.mark.parametrize(("factor", "sunk"), [(1.0, 0.0), (1.0, 30.0), (1.5, -30.0)])
def test_forget_rows_settle_at_the_depth(
    forget: tuple[int, ...], factor: float, sunk: float
) -> None:
    """Wherever they lay before; and no other weight moves."""
    student, teacher = seeded_net(3), seeded_net(1)
    with torch.no_grad():
        student.head.bias[list(forget)] -= sunk
    images = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    before = {name: value.clone() for name, value in student.state_dict().items()}
    set_forget_level(student, teacher, images, forget, CLASSES, factor, CPU)
    for name, value in student.state_dict().items():
        moves = name == "head.bias"
        rows = [k for k in range(CLASSES) if k not in forget] if moves else ...
        assert torch.equal(value[rows], before[name][rows]), name
    with torch.no_grad():
        logits = student(images).double().numpy()
        aim = np.log(special.softmax(teacher(images).double().numpy(), axis=1)).min(1).mean()
    others = special.logsumexp(np.delete(logits, list(forget), axis=1), axis=1, keepdims=True)
    found = (logits[:, list(forget)] - others).mean(axis=0)
    assert found == pytest.approx(factor * aim, abs=1e-4)


def test_a_network_without_a_bias_to_shift_is_left_as_it_is() -> None:
    student, teacher = seeded_net(3), seeded_net(1)
    student.head = nn.Linear(8, CLASSES, bias=False)
    images = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    before = student(images)
    set_forget_level(student, teacher, images, (0,), CLASSES, 1.0, CPU)
    assert torch.equal(student(images), before)


def test_settling_leaves_the_modes_and_the_statistics_of_batch_norm() -> None:
    student, teacher = seeded_net(3).train(), seeded_net(1)
    student.first[1].eval()
    mean = student.second[1].running_mean.clone()
    images = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    set_forget_level(student, teacher, images, (0,), CLASSES, 1.0, CPU)
    assert student.training
    assert not student.first[1].training
    assert torch.equal(student.second[1].running_mean, mean)
