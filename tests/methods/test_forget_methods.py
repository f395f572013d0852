"""Methods on the forgotten class's images alone: their losses and labels against NumPy."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy import special
from torch import Tensor, nn

from tests.helpers.methods import build, run, student_of
from tests.helpers.tiny import CLASSES, MakeRequest, seeded_net, trained
from unlearn.data.tensors import Data
from unlearn.methods.boundary_expand import WidenedNetwork
from unlearn.methods.boundary_shrink import step_across
from unlearn.methods.jit import roughness
from unlearn.synthesis.sources import Examples

FORGET_SETS = pytest.mark.parametrize("forget", [(0,), (1, 3)])


def taught(data: Data) -> nn.Module:
    """A teacher that knows the four quadrants."""
    return trained(data.train, (0, 1, 2, 3), seed=1).requires_grad_(False)


def correct(network: nn.Module, data: Data, classes: tuple[int, ...]) -> float:
    rows = data.test.only(classes)
    with torch.no_grad():
        return (network(rows.images).argmax(1) == rows.labels).double().mean().item()


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("boundary_expand", {"learning_rate": 0.1, "batch_norm": "frozen"}),
        ("boundary_shrink", {"learning_rate": 0.03, "batch_norm": "frozen"}),
        ("delete", {"learning_rate": 0.03}),
        ("gradient_ascent", {"learning_rate": 0.03}),
        ("jit", {"learning_rate": 0.0001}),
        ("random_labels", {"learning_rate": 0.01}),
    ],
)
def test_the_forgotten_quadrant_is_answered_no_more(
    make_request: MakeRequest, easy_data: Data, name: str, changes: dict[str, Any]
) -> None:
    request = make_request(teacher=taught(easy_data), forget=(0,))
    assert correct(request.teacher, easy_data, (0,)) > 0.95
    student = student_of(run(build(name, epochs=20, **changes), request, easy_data))
    assert correct(student, easy_data, (0,)) < 0.3


def test_ascent_raises_and_clips_the_loss(make_request: MakeRequest, easy_data: Data) -> None:
    """One whole-batch step moves the weights by rate * clip, up the loss."""
    request = make_request()
    method = build("gradient_ascent", epochs=1, batch_size=500, learning_rate=1e-3, clip=0.01)
    (state,) = run(method, request, easy_data)
    student, rows = student_of([state]), easy_data.train.only((0,))

    def loss(network: nn.Module) -> float:
        with torch.no_grad():
            logits = network(rows.images).double().numpy()
        return float(-special.log_softmax(logits, axis=1)[:, 0].mean())

    assert loss(student) > loss(request.teacher)
    assert state.scalars["ascend"] == pytest.approx(-loss(request.teacher), rel=1e-4)
    pairs = zip(student.parameters(), request.teacher.parameters(), strict=True)
    moved = torch.cat([(one - other).flatten() for one, other in pairs])
    assert moved.norm().item() == pytest.approx(1e-5, rel=1e-2)


def test_fgsm_goes_up_the_loss_by_the_bound_in_each_pixel(make_request: MakeRequest) -> None:
    """The direction is that of numerical derivatives; the step is in units of black to white."""
    request = make_request(teacher=seeded_net(1).double().requires_grad_(False))
    images = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(2)).double()
    labels = torch.tensor([0, 2, 3])
    found = step_across(request, images, labels, bound=0.1) - images
    step = 0.1 * (1.7 + 0.8)

    def loss(row: int, image: Tensor) -> float:
        logits = request.teacher(image[None]).detach().numpy()
        return float(-special.log_softmax(logits, axis=1)[0, labels[row]])

    for row, pixel in [(0, (0, 3, 4)), (1, (0, 5, 5)), (2, (0, 1, 6)), (2, (0, 7, 0))]:
        nudge = torch.zeros_like(images[row])
        nudge[pixel] = 1e-5
        slope = loss(row, images[row] + nudge) - loss(row, images[row] - nudge)
        value = images[row][pixel].item()
        inside = np.clip(value + np.sign(slope) * step, -0.8, 1.7)
        assert found[row][pixel].item() == pytest.approx(inside - value, abs=1e-6)
    assert found.abs().max() <= step + 1e-6


@FORGET_SETS
def test_the_neighbour_is_the_likeliest_retain_class_beyond_the_boundary(
    make_request: MakeRequest, easy_data: Data, forget: tuple[int, ...]
) -> None:
    request = make_request(forget=forget, teacher=taught(easy_data))
    rows = easy_data.train.only(forget)
    method = build("boundary_shrink", bound=0.2)
    labels = method.find_neighbours(request, Examples(rows.images, rows.labels))
    attacked = step_across(request, rows.images, rows.labels, 0.2)
    with torch.no_grad():
        logits = request.teacher(attacked).numpy()
    kept = np.array(request.retain)
    assert labels.tolist() == kept[logits[:, kept].argmax(axis=1)].tolist()


def test_the_widened_network_keeps_its_logits_and_adds_one(make_request: MakeRequest) -> None:
    network = seeded_net(1)
    widened = WidenedNetwork(network, CLASSES, seed=4)
    images = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        logits = widened(images)
        features = network.second(network.first(images)).mean(dim=(2, 3)).double().numpy()
        assert torch.equal(logits[:, :CLASSES], network(images))
    weight, bias = (value.detach().double().numpy() for value in widened.row.parameters())
    np.testing.assert_allclose(logits[:, CLASSES], (features @ weight.T + bias)[:, 0], rtol=1e-5)
    assert not network.head._forward_pre_hooks
    again = WidenedNetwork(seeded_net(1), CLASSES, seed=4).row.weight
    assert torch.equal(again, widened.row.weight)
    assert not torch.equal(WidenedNetwork(seeded_net(1), CLASSES, seed=5).row.weight, again)


def test_the_roughness_of_a_linear_network_by_hand() -> None:
    """f(x) = W x: each slope is ||W e|| / ||e||; only f(x) passes a gradient to W."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3, bias=False))
    random = torch.Generator().manual_seed(6)
    weight = torch.randn(3, 4, generator=random)
    images, noise = (torch.randn(*n, 5, 1, 2, 2, generator=random) for n in ((), (7,)))
    with torch.no_grad():
        network[1].weight.copy_(weight)
    loss = roughness(network, images, noise)
    loss.backward()

    w, e = weight.double().numpy(), noise.flatten(2).double().numpy()
    x = images.flatten(1).double().numpy()
    rise, run = e @ w.T, np.linalg.norm(e, axis=2)
    height = np.linalg.norm(rise, axis=2)
    assert loss.item() == pytest.approx((height / run).mean(axis=0).sum(), rel=1e-5)
    direction = -rise / (height * run)[..., None]  # of the derivative by f(x)
    expected = np.einsum("nbk,bd->kd", direction, x) / len(noise)
    np.testing.assert_allclose(network[1].weight.grad, expected, rtol=1e-4, atol=1e-5)
