"""Figures without data, of networks built so that what each must be is known."""

import copy

import pytest
import torch
from scipy.special import log_softmax, softmax

from tests.helpers.tiny import (
    CLASSES,
    MakeRequest,
    Networks,
    TinyNet,
    WrittenNet,
    seeded_net,
    write_logits,
)
from unlearn.evaluation.base import StudentMetric
from unlearn.evaluation.proxy import Proxy, ProxyImages, mix_images
from unlearn.protocol import Request
from unlearn.roles import derive_seed

PROXY = Proxy(images=6, steps=60, learning_rate=0.1, tv_weight=0.0, mixtures=2)


@pytest.fixture
def trained_request(networks: Networks, make_request: MakeRequest) -> Request:
    """A request whose teacher knows four classes and is to forget class 0."""
    return make_request(teacher=networks.original)


def scale_head(request: Request, weight: float, bias: list[float]) -> TinyNet:
    """The teacher with its last layer scaled and something added to its biases."""
    network = copy.deepcopy(request.teacher)
    with torch.no_grad():
        network.head.weight.mul_(weight)
        network.head.bias.mul_(weight).add_(torch.tensor(bias))
    return network


def test_the_teacher_the_masked_teacher_and_a_collapsed_one(trained_request: Request) -> None:
    measure = PROXY.prepare(trained_request)
    teacher = measure(trained_request.teacher)
    masked = measure(scale_head(trained_request, 1.0, [-1e4, 0.0, 0.0, 0.0]))
    collapsed = measure(scale_head(trained_request, 0.0, [0.0, 50.0, 0.0, 0.0]))

    assert teacher["retain"] == teacher["forget"] == masked["retain"] == 100
    assert masked["forget"] == masked["soft_forget"] == collapsed["forget"] == 0
    assert collapsed["retain"] == pytest.approx(100 / 3)
    assert teacher["soft_forget"] > 50 > collapsed["soft_forget"]
    assert teacher["margin"] > 0 > collapsed["margin"] > masked["margin"]
    assert masked["soft_retain"] > teacher["soft_retain"]
    assert masked["likelihood"] > teacher["likelihood"] > collapsed["likelihood"]
    assert masked["score"] > max(teacher["score"], collapsed["score"])
    for found in (teacher, masked, collapsed):
        assert found["score"] == found["soft_retain"] - found["soft_forget"]


def test_only_the_soft_figures_rank_students_that_answer_alike(trained_request: Request) -> None:
    measure = PROXY.prepare(trained_request)
    found = [measure(scale_head(trained_request, w, [-1e4, 0, 0, 0])) for w in (1.0, 0.7, 0.4)]
    assert [figures["retain"] for figures in found] == [100.0] * 3
    for name in ("soft_retain", "score", "likelihood"):
        values = [figures[name] for figures in found]
        assert values == sorted(set(values), reverse=True), name


def test_the_figures_are_those_counted_by_hand(make_request: MakeRequest) -> None:
    """On images from a seed of the metric's own, which are not those that methods invert."""
    request, student = make_request(forget=(0, 2)), seeded_net(7)
    labels, seed = torch.arange(CLASSES).repeat(PROXY.images), derive_seed(5, "proxy")
    assert seed != request.seed == 5
    pure = PROXY.invert(request.teacher, request, labels, seed)
    mixed = mix_images(pure, 2, seed)
    found = PROXY.prepare(request)(student)

    with torch.no_grad():
        taught, answered = request.teacher(pure).argmax(1), student(pure).argmax(1)
        asked, given = request.teacher(mixed).double().numpy(), student(mixed).double().numpy()
    triples = list(zip(labels.tolist(), taught.tolist(), answered.tolist(), strict=True))
    same = [t == a for label, t, a in triples if label in (1, 3)]
    forgetting = [a in (0, 2) for label, _, a in triples if label in (0, 2)]
    best, mass, likelihood, lead = [], [], [], []
    for label, teacher, row in zip(labels.repeat(2).tolist(), asked, given, strict=True):
        logs, target = log_softmax(row), softmax(teacher[[1, 3]])
        likelihood.append(target @ logs[[1, 3]])
        if label in (1, 3):
            best.append(softmax(row)[1 if target[0] > target[1] else 3])
        else:
            mass.append(softmax(row)[[0, 2]].sum())
            lead.append(max(row[[0, 2]]) - max(row[[1, 3]]))
    for name, values, scale in (
        ("retain", same, 100),
        ("forget", forgetting, 100),
        ("soft_retain", best, 100),
        ("soft_forget", mass, 100),
        ("likelihood", likelihood, 1),
        ("margin", lead, 1),
    ):
        assert found[name] == pytest.approx(scale * sum(values) / len(values), rel=1e-4), name


def test_hard_figures_use_images_and_soft_ones_mixtures(
    make_request: MakeRequest,
) -> None:
    request, labels = make_request(teacher=WrittenNet()), torch.tensor([0, 1])
    pure = write_logits(torch.tensor([[9.0, 0, 0, 0], [0, 9, 0, 0]]), labels).images
    mixed = write_logits(torch.tensor([[2.0, 0, -50, -50], [-50, 3, 3 - 50, -50]]), labels).images
    found = ProxyImages(request, labels, pure, mixed).measure(WrittenNet())
    assert found["retain"] == found["forget"] == 100
    assert found["soft_retain"] == pytest.approx(100)
    assert found["soft_forget"] == pytest.approx(100 * softmax([2, 0])[0])
    assert found["margin"] == pytest.approx(2)
    assert found["likelihood"] == pytest.approx(log_softmax([2, 0])[1] / 2)


def test_a_mixture_is_mostly_its_own_image() -> None:
    images = torch.eye(5).view(5, 1, 1, 5)
    mixed = mix_images(images, 3, seed=1).view(3, 5, 5)
    assert torch.allclose(mixed.sum(dim=2), torch.ones(3, 5))
    own = mixed.diagonal(dim1=1, dim2=2)
    assert ((own >= 0.5) & (own <= 1.0)).all()
    assert (own < 1.0).any()
    assert not torch.equal(mixed[0], mixed[1])
    assert torch.equal(mixed.view(15, 1, 1, 5), mix_images(images, 3, seed=1))


def test_measuring_changes_neither_random_state_nor_student(
    make_request: MakeRequest,
) -> None:
    assert isinstance(PROXY, StudentMetric)
    student = seeded_net(7)
    before = {name: value.clone() for name, value in student.state_dict().items()}
    state = torch.get_rng_state()
    first = PROXY.prepare(make_request())(student)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())
    assert first == PROXY.prepare(make_request())(student)
    assert first != PROXY.prepare(make_request(seed=6))(student), "each seed has its own images"
