"""Methods on labelled images: their access, and that they change a copy of the teacher alone."""

import pytest
import torch

from tests.helpers.methods import ON_FORGET_IMAGES, ON_OTHER_IMAGES, build, drain, run, student_of
from tests.helpers.tiny import CLASSES, MakeRequest
from unlearn.data.tensors import Data
from unlearn.synthesis.sources import Examples
from unlearn.training.losses import relabel_randomly

FORGETS = [(0,), (1, 3)]
ON_RETAIN_IMAGES = ("cf_k", "eu_k", "fine_tune", "l1_sparse", "unsir")


@pytest.mark.parametrize("forget", FORGETS)
@pytest.mark.parametrize("source", ["real", "inverted"])
@pytest.mark.parametrize("name", sorted(ON_FORGET_IMAGES | ON_OTHER_IMAGES))
def test_a_student_changes_and_its_teacher_stays(
    make_request: MakeRequest, easy_data: Data, name: str, source: str, forget: tuple[int, ...]
) -> None:
    few = {"epochs": 2} if name in ON_FORGET_IMAGES else {}
    request, method = make_request(forget=forget), build(name, source, **few)
    wanted = "retain" if name in ON_RETAIN_IMAGES else "all"
    wanted = "forget" if name in ON_FORGET_IMAGES or name == "modhifi" else wanted
    assert method.access == ("none" if source == "inverted" else wanted)
    before = {key: value.clone() for key, value in request.teacher.state_dict().items()}
    states = run(method, request, easy_data)
    assert all(1 <= state.step <= state.total for state in states)
    inverting = [state.step for state in states if state.stage == "invert"]
    assert inverting == ([1, 2, 3] if source == "inverted" else [])
    for key, value in request.teacher.state_dict().items():
        assert torch.equal(value, before[key]), key
    moved = student_of(states).state_dict()
    assert all(torch.isfinite(value).all() for value in moved.values())
    assert any(not torch.equal(moved[key], value) for key, value in before.items())


@pytest.mark.parametrize("forget", FORGETS)
def test_labels_are_drawn_evenly(make_request: MakeRequest, forget: tuple[int, ...]) -> None:
    request = make_request(forget=forget)
    labels = torch.arange(4000) % CLASSES
    examples = Examples(torch.randn(4000, 1, 2, 2), labels)
    found = relabel_randomly(examples, request, torch.Generator().manual_seed(0))
    gone = torch.isin(labels, torch.tensor(forget))
    assert torch.equal(found.labels[~gone], labels[~gone])
    counts = found.labels[gone].bincount(minlength=CLASSES)
    assert (counts[list(forget)] == 0).all()
    even = int(gone.sum()) / len(request.retain)
    assert ((counts[list(request.retain)] - even).abs() < 0.15 * even).all()
    assert found.images is examples.images


def test_no_more_rows_of_a_class_than_asked_for() -> None:
    labels = torch.tensor([0] * 5 + [2] * 2 + [3] * 9)
    images = torch.arange(16.0)[:, None, None, None]
    found = Examples(images, labels).draw(3, torch.Generator().manual_seed(1))
    assert found.labels.tolist() == [0] * 3 + [2] * 2 + [3] * 3
    rows = found.images.flatten().long()
    assert torch.equal(labels[rows], found.labels)
    assert len(rows.unique()) == len(rows)


def test_unsirs_noises_are_answered_with_other_classes(
    make_request: MakeRequest,
) -> None:
    request = make_request(forget=(1, 3))
    method = build("unsir", noise_steps=60, regularisation=0.0)
    random = torch.Generator().manual_seed(0)
    states, noises = drain(method.synthesis().optimise(request, random, request.forget))
    assert [state.step for state in states] == list(range(1, 61))
    labels = torch.tensor([1, 3]).repeat_interleave(8)
    with torch.no_grad():
        answered = request.teacher(noises.flatten(0, 1)).argmax(dim=1)
    assert (answered != labels).float().mean() > 0.8
    assert states[-1].scalars["noise.forget"] < states[0].scalars["noise.forget"] - 0.1


def test_scrub_maximises_in_first_epochs(make_request: MakeRequest, easy_data: Data) -> None:
    method = build("scrub", epochs=4, maximise_epochs=2)
    states = run(method, make_request(), easy_data)
    both = {"maximise", "minimise"}
    assert [set(state.scalars) for state in states] == [both, both, {"minimise"}, {"minimise"}]
