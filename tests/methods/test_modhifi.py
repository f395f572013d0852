"""ModHiFi-U: the fidelity of components, and which weights go."""

import pytest
import torch
from torch import Tensor, nn

from tests.helpers.methods import build, run, student_of
from tests.helpers.tiny import MakeRequest, net_without_readout
from unlearn.data.tensors import Data
from unlearn.errors import RunError
from unlearn.methods.modhifi import compute_fidelity, remove_components
from unlearn.training.inner_products import inner_products


def layer_and_inputs(groups: int) -> tuple[nn.Conv2d, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        layer = nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=groups).double()
        return layer.requires_grad_(False), torch.randn(5, 4, 8, 8).relu().double()


@pytest.mark.parametrize("groups", [1, 2])
def test_fidelity_is_that_of_the_best_multiple_of_one_contribution(groups: int) -> None:
    """Against least squares on the outputs themselves."""
    layer, inputs = layer_and_inputs(groups)
    found = compute_fidelity(layer, inner_products(layer, inputs))
    outputs = layer(inputs) - layer.bias[:, None, None]
    each = 4 // groups
    assert found.shape == (6, each)
    for c in range(6):
        target = outputs[:, c].flatten()
        for i in range(each):
            channel = (c * groups // 6) * each + i
            one = nn.functional.conv2d(
                inputs[:, channel, None], layer.weight[c, i][None, None], stride=2, padding=1
            ).flatten()
            rest = target - one * (one @ target) / (one @ one)
            expected = 1 - rest.square().sum() / target.square().sum()
            torch.testing.assert_close(found[c, i], expected)


def test_the_components_of_the_largest_fidelity_go() -> None:
    layer, inputs = layer_and_inputs(1)
    fidelity = compute_fidelity(layer, inner_products(layer, inputs))
    before = layer.weight.clone()
    remove_components(layer, fidelity, 0.5)
    for c in range(6):
        gone = set(fidelity[c].argsort(descending=True)[:2].tolist())
        for i in range(4):
            assert torch.equal(layer.weight[c, i], torch.zeros(3, 3)) == (i in gone)
            assert i in gone or torch.equal(layer.weight[c, i], before[c, i])


@pytest.mark.parametrize(("layers", "changed"), [(1, {"second.0.weight"}), (9, None)])
def test_only_the_last_convolutions_are_edited(
    make_request: MakeRequest, easy_data: Data, layers: int, changed: set[str] | None
) -> None:
    request = make_request()
    method = build("modhifi", layers=layers, removed=0.5)
    student = student_of(run(method, request, easy_data))
    found = {
        name
        for name, value in student.state_dict().items()
        if not torch.equal(value, request.teacher.state_dict()[name])
    }
    assert found == (changed or {"second.0.weight"}), "half of one input channel is none"
    assert (student.second[0].weight.flatten(2) == 0).all(dim=2).sum(dim=1).tolist() == [3] * 8


def test_a_convolution_is_needed(make_request: MakeRequest, easy_data: Data) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 4)).requires_grad_(False)
    with pytest.raises(RunError, match="no convolution"):
        run(build("modhifi"), make_request(teacher=network, attention=()), easy_data)
    run(build("modhifi"), make_request(teacher=net_without_readout(), attention=()), easy_data)
