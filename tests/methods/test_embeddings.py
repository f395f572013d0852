"""Synthetic embeddings: how they are drawn, what they stand for, and what they teach."""

import pytest
import torch
from torch import Tensor

from tests.helpers.methods import build, run, student_of
from tests.helpers.tiny import CLASSES, MakeRequest, net_without_readout
from unlearn.errors import ConfigError
from unlearn.methods.embeddings import LayersAfter, draw_embeddings


def test_embeddings_have_the_features_scale_and_their_sign() -> None:
    random = torch.Generator().manual_seed(1)
    features = 3 * torch.randn(200, 6, generator=random)
    for true, lowest in ((features, -torch.inf), (features.relu(), 0.0)):
        drawn = draw_embeddings(true, 5000, random)
        assert drawn.shape == (5000, 6)
        assert (drawn.min() >= 0) == (lowest == 0)
        assert drawn.square().mean().item() == pytest.approx(true.square().mean().item(), rel=1e-4)


@pytest.mark.parametrize(("layer", "shape"), [(None, (8,)), ("first", (6, 8, 8)), ("second.0", ())])
def test_the_rest_of_a_network_maps_its_features_to_its_logits(
    make_request: MakeRequest, layer: str | None, shape: tuple[int, ...]
) -> None:
    request = make_request()
    network = request.teacher
    images = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    first = network.first(images)
    features: dict[str | None, Tensor] = {
        None: network.second(first).mean(dim=(2, 3)),
        "first": first,
        "second.0": network.second[0](first),
    }
    rest = LayersAfter(network, layer, request)
    torch.testing.assert_close(rest(features[layer]), network(images))
    seen = rest.compute_features(request, torch.Generator().manual_seed(3))
    assert seen.shape == (64, *(shape or (8, 8, 8)))
    if layer != "second.0":
        assert seen.min() >= 0, "it stands after a ReLU"
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


@pytest.mark.parametrize("forget", [(0,), (1, 3)])
@pytest.mark.parametrize(("layer", "taught"), [(None, {"head"}), ("first", {"second", "head"})])
def test_what_stands_after_the_layer_learns_masked_answers_and_nothing_else_moves(
    make_request: MakeRequest, layer: str | None, taught: set[str], forget: tuple[int, ...]
) -> None:
    request = make_request(forget=forget)
    method = build("embeddings", layer=layer)
    assert method.access == "none"
    states = run(method, request)
    assert [s.step for s in states] == list(range(1, 41))
    student = student_of(states)
    for name, value in student.state_dict().items():
        kept = torch.equal(value, request.teacher.state_dict()[name])
        moves = name.split(".")[0] in taught and "running" not in name and "num" not in name
        assert kept != moves, name
    random = torch.Generator().manual_seed(9)
    rest = LayersAfter(request.teacher, layer, request)
    unseen = draw_embeddings(rest.compute_features(request, random), 400, random)
    with torch.no_grad():
        before, after = (r(unseen).softmax(1) for r in (rest, LayersAfter(student, layer, request)))
    mass = [p[:, list(forget)].sum(1).mean() for p in (before, after)]
    assert mass[1] < 0.3 * mass[0]
    assert after.shape == (400, CLASSES)


def test_without_a_readout_a_layer_must_be_named(make_request: MakeRequest) -> None:
    request = make_request(teacher=net_without_readout(), attention=("0",))
    method = build("embeddings", layer="0", epochs=1)
    method.check_network(request.teacher)
    assert run(method, request)[-1].student is not None
    with pytest.raises(ConfigError, match=r"method\.layer=9"):
        build("embeddings", layer="9").check_network(request.teacher)
