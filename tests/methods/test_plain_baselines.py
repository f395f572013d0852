"""The plain baselines on retain images: what they change, and their losses."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tests.helpers.methods import build, run, student_of
from tests.helpers.tiny import MakeRequest, TinyNet, seeded_net, trained
from unlearn.data.tensors import Data
from unlearn.errors import ConfigError
from unlearn.models.layers import find_last_layers

WHOLE = {"batch_size": 1000}  # one step an epoch
LAYERS = ["first", "second", "head"]


def weights(network: nn.Module) -> Tensor:
    return torch.cat([weight.detach().flatten() for weight in network.parameters()])


def share_correct(network: nn.Module, data: Data, classes: tuple[int, ...]) -> float:
    rows = data.test.only(classes)
    with torch.no_grad():
        return (network(rows.images).argmax(1) == rows.labels).double().mean().item()


def test_the_l1_penalty_adds_the_signs_of_the_weights(
    make_request: MakeRequest, easy_data: Data
) -> None:
    """One step differs from fine-tuning's by rate * gamma * sign(w)."""
    request, rate, gamma = make_request(), 0.01, 0.02
    one = {**WHOLE, "epochs": 1, "learning_rate": rate}
    tuned = student_of(run(build("fine_tune", **one), request, easy_data))
    sparse = student_of(run(build("l1_sparse", **one, sparsity=gamma), request, easy_data))
    expected = rate * gamma * weights(request.teacher).sign()
    torch.testing.assert_close(weights(tuned) - weights(sparse), expected, rtol=1e-3, atol=1e-7)


def test_the_l1_penalty_falls_linearly(make_request: MakeRequest, easy_data: Data) -> None:
    request = make_request()
    still = {**WHOLE, "epochs": 4, "learning_rate": 1e-12}
    tuned = run(build("fine_tune", **still), request, easy_data)
    sparse = run(build("l1_sparse", **still, sparsity=0.1), request, easy_data)
    norm = weights(request.teacher).abs().sum().item()
    for epoch, (plain, state) in enumerate(zip(tuned, sparse, strict=True)):
        penalty = state.scalars["l1_sparse"] - plain.scalars["fine_tune"]
        assert penalty.item() == pytest.approx(0.1 * (1 - epoch / 4) * norm, rel=1e-4)


def test_l1_sparse_has_more_weights_near_zero(make_request: MakeRequest, easy_data: Data) -> None:
    """What its paper unlearns by: weights become sparse while D_r stays."""
    teacher = trained(easy_data.train, (0, 1, 2, 3), seed=1).requires_grad_(False)
    request = make_request(teacher=teacher)
    few: dict[str, Any] = {"epochs": 20, "learning_rate": 0.02}
    tuned = student_of(run(build("fine_tune", **few), request, easy_data))
    sparse = student_of(run(build("l1_sparse", **few, sparsity=0.003), request, easy_data))
    small = [(weights(network).abs() < 0.02).double().mean() for network in (tuned, sparse)]
    assert small[1] > small[0] + 0.15
    assert share_correct(sparse, easy_data, (1, 2, 3)) > 0.95


def test_a_step_of_neggrad_plus_by_hand(make_request: MakeRequest, easy_data: Data) -> None:
    request, rate, alpha = make_request(batch_norm=False, forget=(1, 3)), 0.01, 0.7
    settings = {**WHOLE, "forget_batch_size": 1000, "epochs": 1, "learning_rate": rate}
    method = build("neggrad_plus", **settings, retain_weight=alpha)
    (state,) = run(method, request, easy_data)
    teacher = seeded_net(1, batch_norm=False)
    gone, kept = (easy_data.train.only(classes) for classes in ((1, 3), (0, 2)))
    errors = [cross_entropy(teacher(rows.images), rows.labels) for rows in (kept, gone)]
    loss = alpha * errors[0] - (1 - alpha) * errors[1]
    loss.backward()
    gradients = torch.cat([weight.grad.flatten() for weight in teacher.parameters()])
    moved = weights(request.teacher) - weights(student_of([state]))
    torch.testing.assert_close(moved, rate * gradients, rtol=1e-3, atol=1e-6)
    assert state.scalars["neggrad_plus"].item() == pytest.approx(loss.item(), rel=1e-4)


def test_neggrad_plus_forgets_and_keeps(make_request: MakeRequest, easy_data: Data) -> None:
    """What its paper finds: the forget error rises while the retain error stays."""
    teacher = trained(easy_data.train, (0, 1, 2, 3), seed=1).requires_grad_(False)
    request = make_request(teacher=teacher)
    student = student_of(
        run(build("neggrad_plus", retain_weight=0.7, epochs=5), request, easy_data)
    )
    assert share_correct(teacher, easy_data, (0,)) > 0.95
    assert share_correct(student, easy_data, (0,)) < 0.05
    assert share_correct(student, easy_data, (1, 2, 3)) > 0.95


def changed(student: nn.Module, other: nn.Module) -> set[str]:
    """Names of the parts of which any tensor differs."""
    pairs = zip(student.state_dict().items(), other.state_dict().values(), strict=True)
    return {name.partition(".")[0] for (name, one), two in pairs if not torch.equal(one, two)}


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("name", ["cf_k", "eu_k"])
def test_exactly_the_last_layers_change(
    make_request: MakeRequest, easy_data: Data, name: str, layers: int
) -> None:
    request = make_request()
    student = student_of(run(build(name, layers=layers), request, easy_data))
    assert changed(student, request.teacher) == set(LAYERS[-layers:])


@pytest.mark.parametrize("layers", [1, 2])
def test_eu_k_starts_the_last_layers_fresh(make_request: MakeRequest, layers: int) -> None:
    request = make_request()
    student = build("eu_k", layers=layers).copy_teacher(request)
    assert changed(student, request.fresh()) == set(LAYERS[:-layers])
    assert changed(student, request.teacher) == set(LAYERS[-layers:])
    trained_parts = {n.partition(".")[0] for n, w in student.named_parameters() if w.requires_grad}
    assert trained_parts == set(LAYERS[-layers:])


def test_eu_k_forgets_what_cf_k_keeps(make_request: MakeRequest, easy_data: Data) -> None:
    """What their paper finds: fresh layers forget more than layers that are trained on."""
    teacher = trained(easy_data.train, (0, 1, 2, 3), seed=1).requires_grad_(False)
    request = make_request(teacher=teacher)
    found = {}
    for name in ("cf_k", "eu_k"):
        method = build(name, epochs=20, learning_rate=0.1)
        student = student_of(run(method, request, easy_data))
        found[name] = share_correct(student, easy_data, (0,))
        assert share_correct(student, easy_data, (1, 2, 3)) > 0.95
    assert found["eu_k"] == 0
    assert found["cf_k"] > 0.5


def test_a_network_has_only_so_many_layers() -> None:
    network = TinyNet()
    assert len(find_last_layers(network, 3)) == 5, "two batch norms belong to the convolutions"
    with pytest.raises(ConfigError, match=r"method\.layers=4"):
        build("cf_k", layers=4).check_network(network)
