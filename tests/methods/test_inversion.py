"""DeepInversion: statistics, total variation and loss terms against hand computations."""

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from scipy import special

from tests.helpers import reference
from tests.helpers.methods import build, drain, run
from tests.helpers.tiny import CPU, MakeRequest, seeded_net
from unlearn.errors import ConfigError
from unlearn.hardware import Hardware
from unlearn.synthesis.generator import ImageGenerator
from unlearn.synthesis.inversion import (
    BatchNormPrior,
    DeepInversion,
    describe_answers,
    is_recognised,
    measure_statistics,
    total_variation,
)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_statistics_and_their_gradient_against_float64(
    precision: torch.dtype, layout: torch.memory_format
) -> None:
    random = torch.Generator().manual_seed(0)
    drawn = torch.randn(20, 6, 5, 4, generator=random) * 2 + 3
    maps = drawn.to(precision).contiguous(memory_format=layout).requires_grad_()
    exact = maps.detach().double().requires_grad_()
    weights = torch.randn(20, 6, 5, 4, generator=random) * 0.01
    passed, variance, mean = measure_statistics(maps)
    assert variance.dtype == mean.dtype == torch.float32
    true_variance, true_mean = torch.var_mean(exact, dim=(0, 2, 3), correction=0)
    torch.testing.assert_close(variance, true_variance.float(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(mean, true_mean.float(), rtol=1e-4, atol=1e-5)
    for used, var, mu in ((passed.float(), variance, mean), (exact, true_variance, true_mean)):
        ((used * weights).sum() + var.square().sum() + mu.exp().sum()).backward()
    assert maps.grad is not None
    assert exact.grad is not None
    error = (maps.grad - exact.grad).norm() / exact.grad.norm()
    assert error < (1e-5 if precision == torch.float32 else 6e-3)


def test_the_prior_in_bfloat16_is_that_in_float32() -> None:
    images = torch.rand(50, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    network = seeded_net(1).requires_grad_(False)
    found = []
    for hardware in (CPU, Hardware(torch.device("cpu"), torch.bfloat16, channels_last=True)):
        placed, x = hardware.place(network), images.clone().requires_grad_()
        with BatchNormPrior(placed, 10.0) as prior:
            logits = hardware.run(placed, x)
            loss = logits.logsumexp(1).mean() + prior.penalty()
        loss.backward()
        assert x.grad is not None
        found.append((loss.item(), x.grad))
    (plain, exact), (fast, rounded) = found
    assert fast == pytest.approx(plain, rel=0.01)
    assert torch.cosine_similarity(rounded.flatten(), exact.flatten(), dim=0) > 0.99


def test_the_prior_sums_the_layers_with_the_first_one_weighed() -> None:
    network = seeded_net(1)
    images = torch.rand(7, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 3
    with BatchNormPrior(network, 10.0) as prior:
        network(images)
        found = prior.penalty().item()
    assert found == pytest.approx(reference.batch_norm_prior(network, images, 10.0), rel=1e-5)
    assert not any(m._forward_pre_hooks for m in network.modules()), "no hook stays behind"


def augmented(**changes: Any) -> set[tuple[int, int]]:
    """Where a single white pixel at row 2, column 3 of 8 x 8 is seen in 300 draws."""
    inversion = deep_inversion(**changes)
    image, random = torch.zeros(1, 1, 8, 8), torch.Generator().manual_seed(0)
    image[0, 0, 2, 3] = 1
    draws = [inversion._augment(image, random) for _ in range(300)]
    assert all(draw.sum() == 1 for draw in draws)
    return {(int(d[0, 0].any(1).nonzero()), int(d[0, 0].any(0).nonzero())) for d in draws}


def test_jitter_shifts_and_flip_mirrors() -> None:
    assert augmented(jitter=0, flip=False) == {(2, 3)}
    assert augmented(jitter=0, flip=True) == {(2, 3), (2, 4)}
    shifted = {(2 + down, 3 + right) for down in (-1, 0, 1) for right in (-1, 0, 1)}
    assert augmented(jitter=1, flip=False) == shifted


def test_total_variation_against_numpy() -> None:
    images = torch.randn(3, 2, 5, 6, generator=torch.Generator().manual_seed(0))
    x = images.numpy()
    differences = [
        x[..., :, 1:] - x[..., :, :-1],
        x[..., 1:, :] - x[..., :-1, :],
        x[..., 1:, 1:] - x[..., :-1, :-1],
        x[..., 1:, :-1] - x[..., :-1, 1:],
    ]
    expected = sum(np.sqrt((d**2).sum()) for d in differences)
    assert total_variation(images).item() == pytest.approx(expected, rel=1e-5)
    assert total_variation(torch.full((2, 1, 4, 4), 3.0)).item() == 0


def deep_inversion(**changes: Any) -> DeepInversion:
    settings: dict[str, Any] = {
        "steps": 40,
        "learning_rate": 0.1,
        "warmup": 5,
        "batch_norm_weight": 0.05,
        "first_layer_factor": 10.0,
        "tv_weight": 1e-3,
        "l2_weight": 1e-2,
        "jitter": 0,
        "flip": False,
    }
    return DeepInversion(**{**settings, **changes})


def test_the_terms_are_weighed_as_documented(make_request: MakeRequest) -> None:
    request = make_request()
    labels = torch.tensor([0, 1, 2, 3, 3])
    images = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with BatchNormPrior(request.teacher, 10.0) as prior:
        terms = deep_inversion()._terms(request, images, labels, prior)
        penalty = prior.penalty().item()
    log_p = special.log_softmax(request.teacher(images).detach().numpy(), axis=1)
    assert terms["class"].item() == pytest.approx(-log_p[range(5), labels].mean(), rel=1e-5)
    assert terms["batch_norm"].item() == pytest.approx(0.05 * penalty, rel=1e-6)
    norm = np.linalg.norm(images.numpy().reshape(5, -1), axis=1).mean()
    assert terms["norm"].item() == pytest.approx(1e-2 * norm, rel=1e-5)
    variation = total_variation(images).item()
    assert terms["total_variation"].item() == pytest.approx(1e-3 * variation, rel=1e-5)


def test_inversion_lowers_its_losses_within_bounds(make_request: MakeRequest) -> None:
    request = make_request()
    labels = torch.arange(4).repeat(8)
    random = torch.Generator().manual_seed(0)
    inversion = deep_inversion(steps=120, batch_norm_weight=1.0, jitter=1, flip=True)
    states, images = drain(inversion.invert(request, labels, random))
    assert images.min() >= -0.8 - 1e-6
    assert images.max() <= 1.7 + 1e-6
    assert images.dtype == torch.float32
    first, last = states[0].scalars, states[-1].scalars
    assert last["batch_norm"] < 0.5 * first["batch_norm"]
    assert last["class"] < first["class"]


def test_the_rate_warms_up_linearly_and_ends_as_a_cosine() -> None:
    rate = deep_inversion(steps=25, warmup=5)._rate
    assert [rate(s) for s in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rate(15) == pytest.approx(0.5)
    assert rate(20) == pytest.approx(0.5 * (1 + math.cos(math.pi * 0.75)))
    assert rate(25) == pytest.approx(0)


method = partial(build, "inversion")


def test_stages_and_the_student_appears_with_the_distillation(make_request: MakeRequest) -> None:
    found = run(method(), make_request())
    assert [s.stage for s in found] == ["invert"] * 12 + ["check"] + ["distil"] * 2
    assert [s.student is None for s in found] == [True] * 13 + [False] * 2
    samples = found[-1].samples
    assert samples.images.shape == (24, 1, 8, 8)


def test_retain_alone_inverts_no_forget_class(make_request: MakeRequest) -> None:
    found = run(method(inverted="retain", inversion_batch=100), make_request(forget=(0, 1)))
    samples = found[-1].samples
    assert len(samples.images) == 6 * 2


LOGITS = torch.tensor(
    [[9.0, 0, 0, 0], [0, 9, 0, 0], [0, 0, 9, 0], [9, 0, 0, 0], [9, 0, 0, 0], [0, 0, 9, 0]]
)
WANTED = torch.tensor([0, 1, 2, 0, 1, 2])


def test_the_description_by_hand() -> None:
    found = describe_answers(LOGITS, WANTED)
    sure, unsure = math.exp(9) / (math.exp(9) + 3), 1 / (math.exp(9) + 3)
    assert set(found) == {*(f"confidence.{k}" for k in range(3)), "answered", "balance"}
    assert found["confidence.0"].item() == pytest.approx(sure)
    assert found["confidence.1"].item() == pytest.approx((sure + unsure) / 2)
    assert found["answered"].item() == pytest.approx(5 / 6)
    spread = -(math.log(3 / 6) * 3 + math.log(1 / 6) + math.log(2 / 6) * 2) / 6
    assert found["balance"].item() == pytest.approx(spread / math.log(4))


def test_one_class_alone_has_a_balance_too() -> None:
    assert describe_answers(LOGITS, torch.zeros(6, dtype=torch.long))["balance"].item() < 1
    assert describe_answers(LOGITS[:1], torch.zeros(1, dtype=torch.long))["balance"].item() == 0


def test_images_answered_otherwise_are_dropped_but_no_class_is() -> None:
    assert is_recognised(LOGITS, WANTED).tolist() == [True, True, True, True, False, True]
    none_of_one = torch.tensor([0, 3, 2, 0, 3, 2])
    assert is_recognised(LOGITS, none_of_one).all()


def test_the_check_stage_reports_dropped_images(make_request: MakeRequest) -> None:
    """Images of one step are noise still; the teacher is made to answer it with every class."""
    request = make_request()
    noise = torch.randn(200, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    noise = noise.clamp(request.lowest, request.highest)
    with torch.no_grad():
        request.teacher.get_parameter("head.bias").sub_(request.teacher(noise).mean(dim=0))
    few = {"inversion_steps": 1, "images": 12}
    every, some = (run(method(kept=kept, **few), request) for kept in ("all", "answered"))
    checks = [next(s for s in found if s.stage == "check").scalars for found in (every, some)]
    assert checks[0]["dropped"] == 0
    assert 0 < checks[1]["dropped"] <= 48 * (1 - float(checks[1]["answered"])) + 1e-6
    assert checks[0]["balance"] == checks[1]["balance"] < 1
    samples = some[-1].samples
    assert (samples.weights == 0).sum() == int(checks[1]["dropped"])


def test_hard_labels_are_one_hot_of_the_target() -> None:
    logits = torch.tensor([[5.0, 1.0, 0.0, 0.0], [0.0, 1.0, 0.0, 4.0]])
    forget = torch.tensor([True, False, False, False])
    hard = method(labels="hard").make_targets(logits, forget)
    assert hard.tolist() == [[0, 1, 0, 0], [0, 0, 0, 1]]


def test_the_prior_needs_batch_norm(
    make_request: MakeRequest,
) -> None:
    without = make_request(batch_norm=False)
    with pytest.raises(ConfigError, match=r"method\.batch_norm_weight=0\.05"):
        method().check_network(without.teacher)
    off = method(batch_norm_weight=0.0)
    off.check_network(without.teacher)
    assert run(off, without)[-1].stage == "distil"


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (1, 10, 7)])
def test_the_generator_makes_normalised_images(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    images = ImageGenerator(16, shape, 8)(torch.randn(256, 16))
    assert images.shape == (256, *shape)
    np.testing.assert_allclose(images.mean(dim=(0, 2, 3)).detach(), 0, atol=1e-4)
    np.testing.assert_allclose(images.std(dim=(0, 2, 3)).detach(), 1, atol=1e-3)
    assert images.max() > 1.1, "no tanh"
