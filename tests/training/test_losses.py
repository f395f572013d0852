"""Targets, gates, entropies and losses against NumPy and SciPy."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import special, stats
from torch import Tensor

from unlearn.filters.compose import Product, gate_and_entropy, pass_rates
from unlearn.filters.entropy import EntropyFilter
from unlearn.filters.gate import ForgetGate
from unlearn.training.losses import (
    attention_loss,
    row_divergence,
    target_probabilities,
    weighted_mean,
)

FORGET = torch.tensor([True, False, False, True, False])


def logits(rows: int = 64, scale: float = 3.0) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return scale * torch.randn(rows, 5, generator=generator, dtype=torch.float64)


def softmax(values: Tensor) -> NDArray[np.float64]:
    probabilities: NDArray[np.float64] = special.softmax(values.numpy(), axis=1)
    return probabilities


def test_the_gate_needs_every_forget_class_at_or_below_epsilon() -> None:
    p = softmax(logits())
    expected = (p[:, 0] <= 0.05) & (p[:, 3] <= 0.05)
    assert 0 < expected.sum() < len(expected)
    weights = ForgetGate(0.05)(logits(), FORGET)
    np.testing.assert_array_equal(weights.numpy(), expected)


def test_the_gate_is_closed_above_and_open_at_the_threshold() -> None:
    even = torch.zeros(1, 4, dtype=torch.float64)
    mask = torch.tensor([True, False, False, False])
    assert ForgetGate(0.25)(even, mask).item() == 1
    assert ForgetGate(0.2499999)(even, mask).item() == 0


@pytest.mark.parametrize("definition", ["all", "retain", "normalised", "quantile"])
def test_entropy_filters_against_scipy(definition: str) -> None:
    p = softmax(logits())
    entropies = stats.entropy(p, axis=1)
    threshold = {"all": 0.6, "retain": 0.4, "normalised": 0.4, "quantile": 0.3}[definition]
    if definition == "retain":
        kept = p[:, ~FORGET.numpy()]
        entropies = stats.entropy(kept / kept.sum(axis=1, keepdims=True), axis=1)
    limit = threshold
    if definition == "normalised":
        entropies = entropies / np.log(5)
    if definition == "quantile":
        limit = np.quantile(entropies, threshold, method="lower")
    expected = entropies <= limit + 1e-12
    assert 0 < expected.sum() < len(expected)
    weights = EntropyFilter(threshold, definition)(logits(), FORGET)
    np.testing.assert_array_equal(weights.numpy(), expected)


def test_filters_are_pure_and_survive_extreme_logits() -> None:
    extreme = torch.tensor([[1e4, -1e4, 0.0, 0.0, 0.0], [-1e4, 1e4, 0.0, 0.0, 0.0]])
    before = extreme.clone()
    for definition in ("all", "retain", "normalised", "quantile"):
        weights = EntropyFilter(0.5, definition)(extreme, FORGET)
        assert weights.shape == (2,)
        assert set(weights.tolist()) <= {0.0, 1.0}
    assert ForgetGate(0.01)(extreme, FORGET).tolist() == [0.0, 1.0]
    assert torch.equal(extreme, before)


def test_a_product_multiplies_and_reports_each_part() -> None:
    both = gate_and_entropy(0.05, 0.6, "all")
    gate, entropy = ForgetGate(0.05)(logits(), FORGET), EntropyFilter(0.6)(logits(), FORGET)
    torch.testing.assert_close(both(logits(), FORGET), gate * entropy)
    rates = pass_rates(both, logits(), FORGET)
    assert rates["pass_rate"].item() == pytest.approx((gate * entropy).mean().item())
    assert rates["pass_rate.gate"].item() == pytest.approx(gate.mean().item())
    assert rates["pass_rate.entropy"].item() == pytest.approx(entropy.mean().item())
    assert Product({})(logits(), FORGET).tolist() == [1.0] * 64
    assert gate_and_entropy(None, None, "all").parts == {}


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_targets_raw_and_masked(temperature: float) -> None:
    raw = target_probabilities(logits(), FORGET, "raw", temperature)
    np.testing.assert_allclose(raw, softmax(logits() / temperature), rtol=1e-12)
    masked = target_probabilities(logits(), FORGET, "masked", temperature).numpy()
    kept = softmax(logits() / temperature) * ~FORGET.numpy()
    np.testing.assert_allclose(masked, kept / kept.sum(axis=1, keepdims=True), rtol=1e-12)
    assert (masked[:, FORGET.numpy()] == 0).all()


def test_postfilter_moves_the_forget_mass_by_hand() -> None:
    """Row 0 holds forget mass: z_f drops to the minimum, (z_f - min) / 3 joins each retain logit;
    row 1 holds almost none and stays.
    """
    rows = torch.tensor([[4.0, 1.0, 0.0, -2.0, 2.0], [-9.0, 5.0, 0.0, -9.0, 0.0]]).double()
    surplus = ((4.0 + 2.0) + (-2.0 + 2.0)) / 3
    moved = [-2.0, 1.0 + surplus, 0.0 + surplus, -2.0, 2.0 + surplus]
    expected = special.softmax(np.array([moved, rows[1].tolist()]), axis=1)
    target = target_probabilities(rows, FORGET, "postfilter", 1.0, 0.01)
    np.testing.assert_allclose(target, expected, rtol=1e-12)


def test_postfilter_asks_of_each_class_whether_it_holds_too_much() -> None:
    """Classes 0 and 3 are forgotten: 2% and 0.6% of the mass, so that the one moves alone."""
    mass = torch.tensor([[0.02, 0.5, 0.3, 0.006, 0.174]], dtype=torch.float64)
    rows = mass.log()
    lowest = math.log(0.006)
    surplus = (math.log(0.02) - lowest) / 3
    moved = [lowest, *(rows[0, k].item() + surplus * (k != 3) for k in range(1, 5))]
    target = target_probabilities(rows, FORGET, "postfilter", 1.0, 0.01)
    np.testing.assert_allclose(target, special.softmax(np.array([moved]), axis=1), rtol=1e-12)


def test_row_divergence_is_scipys_relative_entropy() -> None:
    target = target_probabilities(logits(), FORGET, "masked")
    student = logits().flip(0)
    expected = special.rel_entr(target.numpy(), softmax(student / 2.0)).sum(axis=1)
    np.testing.assert_allclose(row_divergence(target, student, 2.0), expected, rtol=1e-10)


def test_the_generators_gradient_through_a_masked_target_is_finite_and_right() -> None:
    teacher = logits(4).requires_grad_()
    student = logits(4).flip(0).requires_grad_()

    def loss(t: Tensor, s: Tensor) -> Tensor:
        return row_divergence(target_probabilities(t, FORGET, "masked"), s).sum()

    assert torch.autograd.gradcheck(loss, (teacher, student))


def test_weighted_mean_of_nothing_is_zero_without_gradient() -> None:
    rows = torch.tensor([2.0, 4.0, 9.0], requires_grad=True)
    assert weighted_mean(rows, torch.tensor([1.0, 1.0, 0.0])).item() == 3.0
    nothing = weighted_mean(rows, torch.zeros(3))
    nothing.backward()
    assert nothing.item() == 0
    assert rows.grad.tolist() == [0, 0, 0]


def test_attention_loss_against_numpy() -> None:
    generator = torch.Generator().manual_seed(1)
    teacher = [torch.randn(6, n, generator=generator) for n in (9, 4)]
    student = [torch.randn(6, n, generator=generator) for n in (9, 4)]
    weights = torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0, 1.0])
    keep = weights.numpy() == 1
    expected = sum(
        ((t.numpy()[keep] - s.numpy()[keep]) ** 2).mean()
        for t, s in zip(teacher, student, strict=True)
    )
    assert attention_loss(teacher, student, weights).item() == pytest.approx(expected, rel=1e-5)
