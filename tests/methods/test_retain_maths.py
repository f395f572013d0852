"""Losses, importances, masks and projections of those methods against computations of their own."""

import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from scipy import special
from torch import nn
from torch.nn.functional import cross_entropy

from tests.helpers.methods import build, run
from tests.helpers.tiny import CLASSES, MakeRequest, seeded_net
from unlearn.data.tensors import Data
from unlearn.hardware import Hardware
from unlearn.methods.salun import find_salient
from unlearn.methods.subspace import project, subspace
from unlearn.synthesis.sources import Examples
from unlearn.training.inner_products import add_products, inner_products

Array = np.ndarray[Any, Any]


def linear_net() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        network = nn.Sequential(nn.Flatten(), nn.Linear(64, CLASSES))
    return network.eval().requires_grad_(False)


def squared_gradients(weight: Array, bias: Array, images: Array, labels: Array) -> Array:
    """Mean over single rows of the squared gradient of CE by weights and bias, (K, 65)."""
    ones = np.concatenate([images, np.ones((len(images), 1))], axis=1)
    wrong = special.softmax(images @ weight.T + bias, axis=1) - np.eye(CLASSES)[labels]
    squares: Array = ((wrong[:, :, None] * ones[:, None, :]) ** 2).mean(axis=0)
    return squares


@pytest.mark.parametrize("forget", [(0,), (1, 3)])
def test_ssd_damps_a_linear_network_as_computed_by_hand(
    make_request: MakeRequest, easy_data: Data, forget: tuple[int, ...]
) -> None:
    request = make_request(teacher=linear_net(), forget=forget, attention=())
    method = build("ssd", batch_size=1, selection_weight=1.5, dampening=0.8)
    data = easy_data.view("all", forget)
    student = list(method.unlearn(request, data))[-1].student

    weight, bias = (value.double().numpy() for value in request.teacher.parameters())
    images, labels = data.images.flatten(1).double().numpy(), data.labels.numpy()
    gone = np.isin(labels, forget)
    needed = squared_gradients(weight, bias, images[gone], labels[gone])
    every = squared_gradients(weight, bias, images, labels)
    chosen = needed > 1.5 * every
    assert 0.02 < chosen.mean() < 0.98, "or the comparison says nothing"
    factor = np.where(chosen, np.minimum(0.8 * every / needed, 1), 1)
    expected = np.concatenate([weight, bias[:, None]], axis=1) * factor
    found = torch.cat([student[1].weight, student[1].bias[:, None]], dim=1).detach()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)


def test_ssd_on_single_images_is_bounded(make_request: MakeRequest, easy_data: Data) -> None:
    """With four classes of a size I_F <= 4 I_D, whatever the network."""
    request, data = make_request(), easy_data.view("all", (0,))
    for weight, some in ((4.01, False), (1.5, True)):
        method = build("ssd", batch_size=1, selection_weight=weight)
        (share,) = list(method.unlearn(request, data))[-1].scalars.values()
        assert (share > 0) == some


def test_salun_keeps_unsalient_weights(make_request: MakeRequest, easy_data: Data) -> None:
    request, data = make_request(batch_norm=False), easy_data.view("all", (0,))
    method = build("salun", salient=0.3, batch_size=1000, epochs=5)
    student = list(method.unlearn(request, data))[-1].student

    teacher = seeded_net(1, batch_norm=False)
    gone = data.only((0,))
    cross_entropy(teacher(gone.images), gone.labels).backward()
    before = torch.cat([weight.detach().flatten() for weight in teacher.parameters()])
    sizes = torch.cat([weight.grad.abs().flatten() for weight in teacher.parameters()])
    after = torch.cat([weight.detach().flatten() for weight in student.parameters()])
    count = round(0.3 * len(sizes))
    salient = sizes >= sizes.sort(descending=True).values[count - 1]
    assert int(salient.sum()) == count
    assert torch.equal(after[~salient], before[~salient]), "bit for bit"
    assert (after[salient] != before[salient]).float().mean() > 0.9


def test_the_salient_share_is_of_all_tensors_together() -> None:
    gradients = [torch.tensor([[5.0, -7.0], [0.1, 0.0]]), torch.tensor([-6.0, 0.2, 0.3, 0.4])]
    first, second = find_salient(gradients, 0.375)
    assert first.tolist() == [[True, True], [False, False]]
    assert second.tolist() == [True, False, False, False]


def divergences(target_logits: Array, logits: Array, temperature: float) -> Array:
    target = special.softmax(target_logits / temperature, axis=1)
    student = special.log_softmax(logits / temperature, axis=1)
    rows: Array = (target * (np.log(target) - student)).sum(axis=1)
    return rows


def test_scrubs_losses_by_hand(make_request: MakeRequest, easy_data: Data) -> None:
    request = make_request()
    forget, retain = (
        Examples(split.images[:50], split.labels[:50])
        for split in (easy_data.train.only((0,)), easy_data.train.only((1, 2, 3)))
    )
    student = seeded_net(2)
    method = build("scrub", class_weight=0.9, distillation_weight=0.2, temperature=3.0)
    away, back = method.make_losses(student, forget, retain, request)
    rows = torch.tensor([4, 0, 17])
    with torch.no_grad():
        logits = [
            [network(examples.images[rows]).numpy() for network in (request.teacher, student)]
            for examples in (forget, retain)
        ]
    apart, kept = (9 * divergences(*pair, 3.0).mean() for pair in logits)
    log_p = special.log_softmax(logits[1][1], axis=1)
    wrong = -log_p[np.arange(3), retain.labels[rows].numpy()].mean()
    assert apart > 1e-3
    assert away(rows).item() == pytest.approx(-apart, rel=1e-4)
    assert back(rows).item() == pytest.approx(0.9 * wrong + 0.2 * kept, rel=1e-4)


def test_the_bad_teachers_targets_by_hand(make_request: MakeRequest, easy_data: Data) -> None:
    request = make_request(forget=(1, 3))
    examples = Examples(easy_data.train.images[:60], easy_data.train.labels[:60])
    found = build("bad_teacher", temperature=2.0).make_targets(request, examples)
    for row, label in enumerate(examples.labels.tolist()):
        network = request.fresh() if label in (1, 3) else request.teacher
        with torch.no_grad():
            logits = network(examples.images[row : row + 1])[0].numpy()
        np.testing.assert_allclose(found[row], special.softmax(logits / 2), rtol=1e-4)


LAYERS = [
    nn.Linear(5, 3),
    nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=False),
    nn.Conv2d(4, 6, (3, 1), dilation=2, groups=2, bias=False),
    nn.Conv2d(4, 2, 3, padding="same", padding_mode="reflect", bias=False),
]


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_inner_products_are_those_of_the_layers_inputs(
    layer: nn.Linear | nn.Conv2d,
) -> None:
    """The layer's outputs squared, summed over all inputs, are w P w^T for each row of weights."""
    torch.manual_seed(0)
    inputs = torch.randn(7, 5) if isinstance(layer, nn.Linear) else torch.randn(3, 4, 8, 8)
    products = inner_products(layer, inputs)
    with torch.no_grad():
        outputs = layer(inputs) - (layer.bias if layer.bias is not None else 0)
        weights = layer.weight.flatten(1)
    outputs = outputs.T if isinstance(layer, nn.Linear) else outputs.transpose(0, 1).flatten(1)
    each = len(weights) // len(products)
    for row, (weight, output) in enumerate(zip(weights, outputs, strict=True)):
        expected = output.square().sum()
        torch.testing.assert_close(
            weight @ products[row // each] @ weight, expected, rtol=1e-4, atol=1e-4
        )


def test_inner_products_are_summed_in_float32_whatever_the_layers_run_in() -> None:
    torch.manual_seed(0)
    layer, inputs = nn.Conv2d(4, 6, 3), torch.randn(3, 4, 8, 8)
    expected = inner_products(layer, inputs)
    laid_out = inputs.to(memory_format=torch.channels_last)
    torch.testing.assert_close(inner_products(layer, laid_out), expected)
    total = torch.zeros_like(expected)
    with torch.autocast("cpu", torch.bfloat16):
        add_products(total, layer, (laid_out,))
    torch.testing.assert_close(total, expected)
    last = copy.deepcopy(layer).to(memory_format=torch.channels_last)
    with torch.no_grad():
        for one in (layer, last):
            project(one, subspace(expected, 5.0), subspace(expected, 2.0))
    torch.testing.assert_close(last.weight, layer.weight)


def test_a_subspace_weighs_the_singular_vectors_of_the_inputs() -> None:
    inputs = np.random.default_rng(0).normal(size=(40, 6)) * np.array([9, 4, 2, 1, 0.1, 0.01])
    vectors, values, _ = np.linalg.svd(inputs.T, full_matrices=False)
    shares = values**2 / (values**2).sum()
    weights = 5 * shares / (4 * shares + 1)
    found = subspace(torch.tensor(inputs.T @ inputs)[None], 5.0)[0]
    np.testing.assert_allclose(found, (vectors * weights) @ vectors.T, atol=1e-9)


def test_projection_removes_the_forget_direction_and_keeps_what_is_shared() -> None:
    torch.manual_seed(1)
    axes = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64)).Q
    only_forget, shared, only_retain = axes[0], axes[1], axes[2]
    layer = nn.Linear(6, 4, bias=False).double()
    before = layer.weight.detach().clone()

    def space(*directions: torch.Tensor) -> torch.Tensor:
        rows = torch.stack(directions).repeat(10, 1)
        return subspace(inner_products(layer, rows), 1e6)

    with torch.no_grad():
        project(layer, space(only_forget, shared), space(shared, only_retain))
    after = layer.weight.detach()
    assert (before @ only_forget).abs().min() > 0.01
    assert (after @ only_forget).abs().max() < 1e-4
    for kept in (shared, only_retain, axes[3]):
        torch.testing.assert_close(after @ kept, before @ kept, atol=1e-4, rtol=0)


def test_noise_losses_do_not_depend_on_other_classes(
    make_request: MakeRequest,
) -> None:
    request = make_request(forget=(1, 3))
    synthesis = build("unsir").synthesis()
    images = torch.randn(4, 8, 1, 8, 8)
    every, teacher = torch.arange(4), request.teacher
    all_losses = synthesis.losses(teacher, images, every, request.forget_mask)
    some = synthesis.losses(teacher, images[[1, 3]], every[[1, 3]], request.forget_mask[[1, 3]])
    torch.testing.assert_close(some, all_losses[[1, 3]])


@dataclass(frozen=True)
class RecordingHardware(Hardware):
    """Notes the images of each forward pass."""

    seen: list[torch.Tensor] = field(default_factory=list)

    def run(self, network: nn.Module, images: torch.Tensor) -> torch.Tensor:
        self.seen.append(images)
        return super().run(network, images)


def test_salun_passes_over_forget_rows_first(make_request: MakeRequest, easy_data: Data) -> None:
    hardware = RecordingHardware(torch.device("cpu"))
    request = make_request(hardware=hardware, forget=(1, 3))
    states = run(build("salun", batch_size=50, epochs=2), request, easy_data)
    corners = [images[:, 0].reshape(-1, 2, 4, 2, 4).mean(dim=(2, 4)) for images in hardware.seen]
    kinds = [set((corner.flatten(1).argmax(dim=1) % 2).tolist()) for corner in corners]
    saliency = sum(state.stage == "saliency" for state in states)
    assert kinds[saliency:] == 2 * (4 * [{1}] + 4 * [{0}]), "classes 1 and 3 are the odd ones"
