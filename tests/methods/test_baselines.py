"""The degenerate baselines: networks that answer no forgotten class and keep all its features."""

import pytest
import torch

from tests.helpers.methods import build, run, student_of
from tests.helpers.tiny import MakeRequest, net_without_readout
from unlearn.data.tensors import Data
from unlearn.errors import RunError
from unlearn.filters.compose import Product
from unlearn.filters.gate import ForgetGate


@pytest.mark.parametrize("forget", [(0,), (1, 3)])
def test_masked_logits_are_constant(make_request: MakeRequest, forget: tuple[int, ...]) -> None:
    request = make_request(forget=forget)
    student = student_of(run(build("masked_logit", bias=-20.0), request))
    images = torch.randn(50, 1, 8, 8)
    with torch.no_grad():
        logits, taught = student(images), request.teacher(images)
    assert (logits[:, list(forget)] == -20).all()
    kept = list(request.retain)
    assert torch.equal(logits[:, kept], taught[:, kept])


@pytest.mark.parametrize("batch_norm", [True, False])
def test_head_only_changes_the_last_layer(make_request: MakeRequest, batch_norm: bool) -> None:
    request = make_request(batch_norm=batch_norm)
    states = run(build("head_only"), request)
    student, samples = student_of(states), states[-1].samples
    assert [s.stage for s in states] == ["invert"] * 10 + ["distil"] * 60
    with torch.no_grad():
        answered, taught = student(samples.images), request.teacher(samples.images)
    target = taught.masked_fill(request.forget_mask, -torch.inf).softmax(1)
    assert (answered.argmax(1) != 0).all()
    assert (answered.softmax(1) - target).abs().mean() < (taught.softmax(1) - target).abs().mean()
    for name, value in student.state_dict().items():
        same = torch.equal(value, request.teacher.state_dict()[name])
        assert same != name.startswith("head"), name


@pytest.mark.parametrize(
    "name", ["masked_logit", "head_only", "embeddings", "boundary_expand", "pour_p", "pour_d"]
)
def test_a_linear_readout_is_needed(make_request: MakeRequest, easy_data: Data, name: str) -> None:
    request = make_request(teacher=net_without_readout(), attention=("0",))
    with pytest.raises(RunError, match="Sequential has no linear layer"):
        run(build(name), request, easy_data)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("head_only", {}),
        ("noise", {"repair_epochs": 1}),
        ("inversion", {}),
        ("regrow", {}),
        ("ispf", {}),
        ("gkt", {"iterations": 3}),
    ],
)
def test_an_empty_filter_fails(
    make_request: MakeRequest, name: str, changes: dict[str, int]
) -> None:
    request = make_request(filter=Product({"gate": ForgetGate(0.0)}))
    with pytest.raises(RunError, match=r"raise filter\.gate"):
        run(build(name, **changes), request)


@pytest.mark.parametrize("name", ["regrow", "ispf", "gkt"])
def test_a_learning_rate_that_explodes_ends_the_run(make_request: MakeRequest, name: str) -> None:
    method = build(name, learning_rate=1e30, clip=1e30, batch_norm="frozen")
    with pytest.raises(RunError, match=r"method\.learning_rate=1e\+30"):
        run(method, make_request())
