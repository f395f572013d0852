"""Figures without data, of networks built so that what each must be is known."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy.special import log_softmax, softmax
from torch import Tensor, nn

from tests.helpers.tiny import CLASSES, CPU, TinyNet, seeded_net
from unlearn.config.schema import TrainingConfig
from unlearn.data.tensors import Data
from unlearn.evaluation.base import StudentMetric
from unlearn.evaluation.inversion import Inversion
from unlearn.evaluation.proxy import Proxy, ProxyImages, mix_images
from unlearn.protocol import Request
from unlearn.resume import Progress
from unlearn.roles import derive_seed
from unlearn.training.supervised import train

PROXY = Proxy(images=6, steps=60, learning_rate=0.1, tv_weight=0.0, mixtures=2)


@pytest.fixture
def request_to_forget(easy_data: Data, make_request: Callable[..., Request]) -> Request:
    """A request whose teacher knows four classes and is to forget class 0."""
    teacher = seeded_net(1)
    settings = TrainingConfig(
        seed=1, epochs=12, batch_size=50, optimizer="adamw", learning_rate=0.02, weight_decay=0.01
    )
    list(train([teacher], [easy_data.train], [settings], CPU, Progress()))
    return make_request(teacher=teacher.eval().requires_grad_(False))


def altered(request: Request, weight: float, bias: list[float]) -> TinyNet:
    """The teacher with its readout's weights scaled and something added to its biases."""
    assert isinstance(request.teacher, TinyNet)
    network = copy.deepcopy(request.teacher)
    with torch.no_grad():
        network.head.weight.mul_(weight)
        network.head.bias.mul_(weight).add_(torch.tensor(bias))
    return network


def test_its_images_are_not_those_that_methods_invert(
    make_request: Callable[..., Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor their neighbours: the starts, which Adam does not go far from, are other ones."""
    request = make_request()
    seeds = []

    def record_seed(own: Inversion, *arguments: Any) -> Tensor:
        seeds.append(arguments[-1])
        return invert(own, *arguments)

    invert = Inversion.invert
    monkeypatch.setattr(Inversion, "invert", record_seed)
    PROXY.prepare(request)
    assert seeds
    assert request.seed not in seeds


def test_the_teacher_the_masked_teacher_and_a_collapsed_one(request_to_forget: Request) -> None:
    take = PROXY.prepare(request_to_forget)
    teacher = take(request_to_forget.teacher)
    masked = take(altered(request_to_forget, 1.0, [-1e4, 0.0, 0.0, 0.0]))
    collapsed = take(altered(request_to_forget, 0.0, [0.0, 50.0, 0.0, 0.0]))

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


def test_what_the_answers_do_not_show_the_soft_figures_do(request_to_forget: Request) -> None:
    """Students that answer alike but are less and less sure: only the soft figures order them."""
    take = PROXY.prepare(request_to_forget)
    found = [take(altered(request_to_forget, w, [-1e4, 0, 0, 0])) for w in (1.0, 0.7, 0.4)]
    assert [figures["retain"] for figures in found] == [100.0] * 3
    for name in ("soft_retain", "score", "likelihood"):
        values = [figures[name] for figures in found]
        assert values == sorted(values, reverse=True), name
        assert len(set(values)) == 3, name


def test_the_figures_are_those_counted_by_hand(make_request: Callable[..., Request]) -> None:
    request, student = make_request(forget=(0, 2)), seeded_net(7)
    labels = torch.arange(CLASSES).repeat(PROXY.images)
    seed = derive_seed(request.seed, "proxy")
    inversion = Inversion(steps=60, learning_rate=0.1, tv_weight=0.0)
    pure = inversion.invert(request.teacher, request, labels, seed)
    mixed = mix_images(pure, 2, seed)
    found = PROXY.prepare(request)(student)

    with torch.no_grad():
        taught, answered = request.teacher(pure).argmax(1), student(pure).argmax(1)
        asked, given = request.teacher(mixed).double().numpy(), student(mixed).double().numpy()
    triples = list(zip(labels.tolist(), taught.tolist(), answered.tolist(), strict=True))
    same = [t == a for label, t, a in triples if label in (1, 3)]
    forgetting = [a in (0, 2) for label, _, a in triples if label in (0, 2)]
    assert found["retain"] == pytest.approx(100 * sum(same) / len(same))
    assert found["forget"] == pytest.approx(100 * sum(forgetting) / len(forgetting))

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
        ("soft_retain", best, 100),
        ("soft_forget", mass, 100),
        ("likelihood", likelihood, 1),
        ("margin", lead, 1),
    ):
        assert found[name] == pytest.approx(scale * sum(values) / len(values), rel=1e-4), name


def test_a_mixture_is_mostly_its_own_image() -> None:
    images = torch.eye(5).view(5, 1, 1, 5)
    mixed = mix_images(images, 3, seed=1).view(3, 5, 5)
    assert torch.allclose(mixed.sum(dim=2), torch.ones(3, 5))
    own = mixed.diagonal(dim1=1, dim2=2)
    assert ((own >= 0.5) & (own <= 1.0)).all()
    assert (own < 1.0).any()
    assert not torch.equal(mixed[0], mixed[1])
    assert torch.equal(mixed.view(15, 1, 1, 5), mix_images(images, 3, seed=1))


def test_looking_leaves_torchs_random_state_and_the_student_as_they_were(
    make_request: Callable[..., Request],
) -> None:
    assert isinstance(PROXY, StudentMetric)
    student = seeded_net(7)
    before = {name: value.clone() for name, value in student.state_dict().items()}
    state = torch.get_rng_state()
    first = PROXY.prepare(make_request())(student)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())
    assert first == PROXY.prepare(make_request())(student)
    assert first != PROXY.prepare(make_request(seed=6))(student), "images of its own for each seed"


def test_a_probe_of_images_that_are_given(make_request: Callable[..., Request]) -> None:
    """Each figure looks at its own part: hard ones at the inverted images, soft at mixtures."""

    class Written(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images[:, 0, 0, :CLASSES]

    def rows(*logits: list[float]) -> Tensor:
        images = torch.zeros(len(logits), 1, 8, 8)
        images[:, 0, 0, :CLASSES] = torch.tensor(logits)
        return images

    request = make_request(teacher=Written())
    pure = rows([9, 0, 0, 0], [0, 9, 0, 0])
    mixed = rows([2, 0, -50, -50], [-50, 3, 3 - 50, -50])
    found = ProxyImages(request, torch.tensor([0, 1]), pure, mixed).measure(Written())
    assert found["retain"] == found["forget"] == 100
    assert found["soft_retain"] == pytest.approx(100)
    assert found["soft_forget"] == pytest.approx(100 * softmax([2, 0])[0])
    assert found["margin"] == pytest.approx(2)
    assert found["likelihood"] == pytest.approx(log_softmax([2, 0])[1] / 2)
