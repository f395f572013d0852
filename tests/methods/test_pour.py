"""POUR: the projection, and what it leaves of the features."""

import pytest
import torch
from torch import Tensor, nn

from tests.helpers.methods import build, run, student_of
from tests.helpers.tiny import CLASSES, MakeRequest, seeded_net, trained
from unlearn.data.tensors import Data
from unlearn.models.features import FeatureExtractor
from unlearn.training.student import make_projection

FORGETS = pytest.mark.parametrize("forget", [(0,), (1, 3)])


def images_like(count: int) -> Tensor:
    return torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(1))


@FORGETS
def test_the_projection_removes_the_rows_and_keeps_what_is_orthogonal(
    forget: tuple[int, ...],
) -> None:
    network = seeded_net(1)
    projection = make_projection(network, forget, CLASSES)
    rows = network.head.weight.detach()[list(forget)].double()
    torch.testing.assert_close(projection @ rows.T, torch.zeros_like(rows.T), atol=1e-12, rtol=0)
    drawn = torch.randn(8, 3, dtype=torch.float64)
    orthogonal = drawn - rows.T @ torch.linalg.lstsq(rows.T, drawn).solution
    torch.testing.assert_close(projection @ orthogonal, orthogonal)
    torch.testing.assert_close(projection @ projection, projection)
    if len(forget) == 1:
        (row,) = rows
        expected = torch.eye(8, dtype=torch.float64) - row[:, None] * row / row.square().sum()
        torch.testing.assert_close(projection, expected)


@FORGETS
def test_pour_p_answers_with_projected_features(
    make_request: MakeRequest, forget: tuple[int, ...]
) -> None:
    request, images = make_request(forget=forget), images_like(20)
    student, kept = student_of(run(build("pour_p"), request)), list(request.retain)
    teacher = request.teacher
    with torch.no_grad():
        features = FeatureExtractor(teacher, CLASSES)(images)
        assert torch.equal(FeatureExtractor(student, CLASSES)(images), features)
        projected = features.double() @ make_projection(teacher, forget, CLASSES)
        logits = projected @ teacher.head.weight[kept].double().T + teacher.head.bias[kept]
        answered = student(images)
    torch.testing.assert_close(answered[:, kept].double(), logits, rtol=1e-4, atol=1e-5)
    assert (answered[:, list(forget)] == 0).all()


def simplex(classes: int) -> Tensor:
    """Unit vectors (K, K) of which each two have the inner product -1 / (K - 1)."""
    vectors = torch.eye(classes) - 1 / classes
    return vectors / vectors.norm(dim=1, keepdim=True)


def test_a_projected_simplex_is_a_simplex_of_one_class_less(make_request: MakeRequest) -> None:
    """Proposition 3.2 of the paper; and Theorem 4.2: D_f is 0 and all else stays."""
    head = nn.Linear(CLASSES, CLASSES)
    with torch.no_grad():
        head.weight.copy_(simplex(CLASSES))
        head.bias.zero_()
    network = nn.Sequential(nn.Flatten(), head).requires_grad_(False).eval()
    request = make_request(teacher=network, forget=(2,), shape=(1, 2, 2), attention=())
    student = list(build("pour_p").unlearn(request, None))[-1].student
    kept = list(request.retain)
    rows = student[1].weight[kept]
    rows = rows / rows.norm(dim=1, keepdim=True)
    expected = torch.full((3, 3), -1 / (CLASSES - 2)).fill_diagonal_(1)
    torch.testing.assert_close(rows @ rows.T, expected, rtol=1e-5, atol=1e-6)
    noise = 0.02 * torch.randn(50, CLASSES, CLASSES, generator=torch.Generator().manual_seed(3))
    features = (simplex(CLASSES) + noise).flatten(0, 1)
    answers = student(features).argmax(dim=1).view(50, CLASSES)
    assert (answers[:, 2] != 2).all()
    assert (answers[:, kept] == torch.tensor(kept)).all()


@pytest.mark.parametrize("centred", [False, True])
def test_centred_rows_sum_to_zero_and_change_no_probability(
    make_request: MakeRequest, centred: bool
) -> None:
    """A vector added to all rows changes no answer of the teacher, but those of the projection."""
    request, images = make_request(), images_like(30)
    other = seeded_net(1).requires_grad_(False)
    other.head.weight += torch.linspace(-1, 1, 8)
    with torch.no_grad():
        answers = [network(images).softmax(1) for network in (request.teacher, other)]
        torch.testing.assert_close(*answers, rtol=1e-4, atol=1e-5)
        method = build("pour_p", centred=centred)
        projected = [
            student_of(run(method, one))(images).softmax(1)
            for one in (request, make_request(teacher=other))
        ]
    assert torch.allclose(*projected, rtol=1e-4, atol=1e-5) == centred


def taught(data: Data) -> nn.Module:
    return trained(data.train, (0, 1, 2, 3), seed=1).requires_grad_(False)


def test_pour_d_moves_the_encoder_to_the_projected_features(
    make_request: MakeRequest, easy_data: Data
) -> None:
    """Features along w_f go, and the last layer and the batch norm's statistics stay."""
    request = make_request(teacher=taught(easy_data))
    student = student_of(run(build("pour_d", epochs=40, learning_rate=0.02), request, easy_data))
    teacher, rows = request.teacher, easy_data.test.only((0,))
    with torch.no_grad():
        before, after = (
            FeatureExtractor(network, CLASSES)(rows.images) for network in (teacher, student)
        )
    target = before @ make_projection(teacher, (0,), CLASSES).float()
    assert (after - target).square().mean() < 0.1 * (before - target).square().mean()
    unchanged = {
        name
        for name, value in student.state_dict().items()
        if torch.equal(value, teacher.state_dict()[name])
    }
    assert {name for name in unchanged if "running" not in name and "num_" not in name} == {
        "head.weight",
        "head.bias",
    }
    assert sum("running" in name for name in unchanged) == 4


def test_the_loss_of_pour_d_by_hand(make_request: MakeRequest, easy_data: Data) -> None:
    request = make_request(forget=(1, 3))
    states = run(build("pour_d", batch_size=1000, epochs=2), request, easy_data)
    rows = easy_data.train.only((1, 3))
    with torch.no_grad():
        features = FeatureExtractor(request.teacher, CLASSES)(rows.images).double()
    gone = features - features @ make_projection(request.teacher, (1, 3), CLASSES)
    first, second = (state.scalars["pour_d"].item() for state in states)
    assert first == pytest.approx(gone.square().mean().item(), rel=1e-4)
    assert second < first
