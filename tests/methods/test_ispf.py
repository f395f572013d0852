"""ISPF: the inhibited divergence against NumPy, where its gradients point, and its batches."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy import special
from torch import Tensor

from tests.helpers.methods import build
from tests.helpers.reference import batch_norm_prior
from tests.helpers.tiny import CLASSES, MakeRequest
from unlearn.methods.ispf import ISPFTrainer, inhibited_divergence


def columns(teacher: Tensor, student: Tensor) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Each row's and class's t log(t / s), in NumPy."""
    t, s = (special.softmax(z.detach().double().numpy(), axis=1) for z in (teacher, student))
    found: np.ndarray[Any, np.dtype[np.float64]] = special.rel_entr(t, s)
    return found


@pytest.mark.parametrize("forget", [(0,), (1, 3)])
def test_the_sign_flips_on_the_forget_columns(forget: tuple[int, ...]) -> None:
    random = torch.Generator().manual_seed(4)
    teacher, student = (torch.randn(6, CLASSES, generator=random) for _ in range(2))
    mask = torch.zeros(CLASSES, dtype=torch.bool)
    mask[list(forget)] = True
    signs = np.where(mask.numpy(), 1.0, -1.0)
    expected = (columns(teacher, student) * signs).sum(axis=1).mean()
    assert inhibited_divergence(teacher, student, mask).item() == pytest.approx(expected, rel=1e-5)


def test_its_gradient_lowers_the_teachers_forget_probability_where_gkts_raises_it() -> None:
    """On an image of the forgotten class, to a student that has forgotten it."""
    student = torch.tensor([[-4.0, 1.0, 0.5, 0.2]])
    mask = torch.tensor([True, False, False, False])
    slopes = []
    for flipped in (mask, torch.zeros_like(mask)):
        teacher = torch.tensor([[2.0, 1.0, 0.5, 0.2]], requires_grad=True)
        inhibited_divergence(teacher, student, flipped).backward()
        slopes.append(-teacher.grad[0, 0].item())  # which way a step down the loss goes
    inhibited, gkt = slopes
    assert inhibited < 0 < gkt


def test_the_generators_loss_is_the_sum_of_its_terms(make_request: MakeRequest) -> None:
    request = make_request(forget=(1, 3))
    with ISPFTrainer(build("ispf"), request) as trainer:
        noise = trainer.draw_noise()
        loss = trainer.generator_loss(noise)
        images = trainer.generator(noise)
        learned = trainer.student(images)
    network = request.teacher
    logits = network(images)
    signs = np.array([-1.0, 1.0, -1.0, 1.0])
    expected = (columns(logits, learned) * signs).sum(axis=1).mean()
    expected += 0.5 * batch_norm_prior(network, images, 1.0)
    answers = special.softmax(logits.detach().double().numpy(), axis=1)
    expected -= 0.7 * np.log(answers.max(axis=1)).mean()
    expected -= 0.3 * special.entr(answers.mean(axis=0)).sum()
    assert loss.item() == pytest.approx(expected, rel=1e-4)


def test_a_batch_is_post_filtered_and_none_of_it_is_gated(make_request: MakeRequest) -> None:
    with ISPFTrainer(build("ispf"), make_request()) as trainer:
        batch = trainer.synthesise(trainer.draw_noise())
    logits, target = batch.logits.double().numpy(), batch.target.double().numpy()
    assert batch.weights.eq(1).all()
    mass = special.softmax(logits, axis=1)[:, 0]
    assert (mass > 0.01).any()
    for row, share, taught in zip(logits, mass, target, strict=True):
        if share > 0.01:
            row = row + (row[0] - row.min()) / 3
            row[0] = logits[mass == share][0].min()
        np.testing.assert_allclose(taught, special.softmax(row), rtol=1e-4, atol=1e-6)


def test_the_students_loss_is_summed_over_classes(make_request: MakeRequest) -> None:
    with ISPFTrainer(build("ispf"), make_request()) as trainer:
        batch = trainer.synthesise(trainer.draw_noise())
        with torch.no_grad():
            answered = special.softmax(trainer.student(batch.images).double().numpy(), axis=1)
        terms = trainer.student_step(batch)
    target = batch.target.double().numpy()
    expected = special.rel_entr(target, answered).sum(axis=1).mean()
    assert terms["divergence"].item() == pytest.approx(expected, rel=1e-4)
