"""Inverted images of one teacher are made once, whatever classes a request forgets."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers.methods import build
from tests.helpers.tiny import MakeRequest
from unlearn.data.synthesised import ImageCache
from unlearn.protocol import Request


def unlearn(request: Request, method: str, **changes: Any) -> tuple[list[str], list[torch.Tensor]]:
    """The stages of all states, and the student's weights."""
    states = list(build(method, **changes).unlearn(request, None))
    assert states[-1].student is not None
    return [s.stage for s in states], list(states[-1].student.state_dict().values())


@pytest.mark.parametrize("method", ["inversion", "head_only", "regrow"])
def test_a_second_request_takes_the_images_and_makes_the_same_student(
    make_request: MakeRequest, tmp_path: Path, method: str
) -> None:
    first, second = ImageCache(tmp_path, {"teacher": "a"}), ImageCache(tmp_path, {"teacher": "a"})
    stages, _ = unlearn(make_request(forget=(0,), images=first), method)
    assert "invert" in stages
    assert first.seconds == 0
    stages, student = unlearn(make_request(forget=(2,), images=second), method)
    assert "invert" not in stages
    assert second.seconds > 0, "what the images took counts for the second request, too"
    stages, alone = unlearn(make_request(forget=(2,)), method)
    assert "invert" in stages
    for one, other in zip(student, alone, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("change", ["teacher", "settings", "seed"])
def test_what_decides_the_images_decides_which_are_taken(
    make_request: MakeRequest, tmp_path: Path, change: str
) -> None:
    unlearn(make_request(images=ImageCache(tmp_path, {"teacher": "a"})), "inversion")
    teacher = "b" if change == "teacher" else "a"
    request = make_request(images=ImageCache(tmp_path, {"teacher": teacher}))
    if change == "seed":
        request = dataclasses.replace(request, seed=6)
    settings = {"tv_weight": 0.5} if change == "settings" else {}
    stages, _ = unlearn(request, "inversion", **settings)
    assert "invert" in stages


def test_images_that_depend_on_the_forget_classes_are_not_kept(
    make_request: MakeRequest, tmp_path: Path
) -> None:
    unlearn(make_request(images=ImageCache(tmp_path)), "inversion", inverted="retain")
    assert not list(tmp_path.iterdir())


def test_a_damaged_file_is_made_again(
    make_request: MakeRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, whole = unlearn(make_request(images=ImageCache(tmp_path)), "inversion")
    files = list(tmp_path.glob("*.pt"))
    files[0].write_bytes(files[0].read_bytes()[:-50])
    stages, again = unlearn(make_request(images=ImageCache(tmp_path)), "inversion")
    assert "invert" in stages
    assert files[0].name in capsys.readouterr().err
    assert all(torch.equal(one, other) for one, other in zip(whole, again, strict=True))
