"""The data contract: a zero-shot method has no path to an image, a label or a figure of one."""

import gc
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.helpers.command_line import Cli
from tests.helpers.config import resolve
from unlearn.data.images import Images, Pixels
from unlearn.data.source import RawImages
from unlearn.data.tensors import Access, Data, DataContractError, Split
from unlearn.protocol import Observed, Request, State, Steps
from unlearn.runner.build import build
from unlearn.runner.run import run

SOURCE = "source=inverted source.images=3 source.steps=3"
# Methods without data, and settings that make them small.
METHODS = {
    "regrow": "pool=2 inversion_steps=3 gate=0.9 iterations=3 batch_size=16",
    "regrow_upper": "source.images=4 source.steps=3 iterations=2 batch_size=16 gate=0.9",
    "masked_logit": "",
    "head_only": "images=2 inversion_steps=3",
    "gkt": "iterations=3 batch_size=16",
    "ispf": "iterations=3 batch_size=16",
    "embeddings": "embeddings=64 epochs=1",
    "boundary_expand": f"{SOURCE} epochs=1",
    "boundary_shrink": f"{SOURCE} epochs=1",
    "delete": f"{SOURCE} epochs=1",
    "modhifi": SOURCE,
    "pour_p": "",
    "pour_d": f"{SOURCE} epochs=1",
    "noise": "noises=4 noise_steps=3 repair_epochs=1",
    "inversion": "images=2 inversion_steps=3 epochs=1",
    "unsir": f"{SOURCE} noises=8 noise_steps=3",
    "subspace": SOURCE,
}
# Methods on real images, and what they need of them.
GRANTED: dict[str, Access] = {
    "cf_k": "retain",
    "eu_k": "retain",
    "fine_tune": "retain",
    "l1_sparse": "retain",
    "neggrad_plus": "all",
    "unsir": "retain",
    "amnesiac": "all",
    "bad_teacher": "all",
    "scrub": "all",
    "ssd": "all",
    "salun": "all",
    "subspace": "all",
}
SMALL = [
    "model=allcnn",
    "model.width=0.05",
    "training.epochs=1",
    "evaluation=quick",
    "hardware=cpu",
]
QUIET = ["tracking.mode=disabled", "~tracking.observers.progress"]


def reachable(start: object) -> Iterator[object]:
    """Every object reachable from `start`, short of modules, classes and functions' globals."""
    seen: set[int] = set()
    stack = [start]
    while stack:
        thing = stack.pop()
        if id(thing) in seen or isinstance(thing, types.ModuleType | type):
            continue
        seen.add(id(thing))
        yield thing
        if isinstance(thing, types.FunctionType):
            stack += [cell.cell_contents for cell in thing.__closure__ or ()]
            stack += list(thing.__defaults__ or ())
        else:
            stack += gc.get_referents(thing)


def storages(start: object) -> set[int]:
    """Where the memory of every tensor begins that is reachable from `start`."""
    tensors = (t for t in reachable(start) if type(t) is torch.Tensor)
    return {tensor.untyped_storage().data_ptr() for tensor in tensors}


@dataclass
class Spy:
    """A zero-shot method that tries to cheat in every way open to it."""

    access: Access = "none"
    stolen: Any = None

    def unlearn(self, request: Request, data: Split | None) -> Steps:
        self.request, self.view = request, data
        self.answers: list[Observed | None] = []
        if self.stolen is not None:
            _ = self.stolen.test.images
        for step in (1, 2):
            self.answers.append((yield State("spy", step, 2, request.fresh())))


def spied(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, spy: Spy, steal: bool = False) -> Data:
    config = resolve(*SMALL, *QUIET, "evaluation.every=1", f"outputs={tmp_path}")
    parts = build(config)
    if steal:
        spy.stolen = parts.data
    object.__setattr__(parts, "method", spy)
    monkeypatch.setattr("unlearn.runner.run.build", lambda _: parts)
    run(config)
    return parts.data


def test_the_request_reaches_no_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spy = Spy()
    data = spied(monkeypatch, tmp_path, spy)

    found = list(reachable(spy.request))
    assert len(found) > 100, "the search must have gone into the teacher"
    assert any(thing is spy.request.teacher for thing in found)
    assert not [t for t in found if isinstance(t, Data | Split | RawImages | Images | Pixels)]
    assert storages(data)
    assert not storages(spy.request) & storages(data)
    assert spy.view is None


def test_only_oracles_see_figures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spy = Spy()
    spied(monkeypatch, tmp_path, spy)
    assert spy.answers == [None, None]
    oracle = Spy(access="oracle")
    spied(monkeypatch, tmp_path / "oracle", oracle)
    assert all(isinstance(answer, Observed) for answer in oracle.answers)
    assert oracle.view is None


def test_reading_smuggled_data_raises(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(DataContractError):
        spied(monkeypatch, tmp_path, Spy(), steal=True)


@pytest.mark.parametrize(("access", "classes"), [("forget", {0}), ("retain", set(range(1, 10)))])
def test_a_view_holds_only_what_was_declared(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, access: Access, classes: set[int]
) -> None:
    spy = Spy(access=access)
    data = spied(monkeypatch, tmp_path, spy)
    assert set(spy.view.labels.tolist()) == classes
    (pixels,) = (thing.values for thing in reachable(spy.view) if isinstance(thing, Pixels))
    assert len(pixels) == len(spy.view)
    assert pixels.untyped_storage().data_ptr() not in storages(data)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_the_student_is_the_same_bit_for_bit_without_any_data(tmp_path: Path, method: str) -> None:
    """Run with the real data set in the house, and again where there is none at all."""
    words = [f"method.{word}" for word in METHODS[method].split()]
    words = [word.replace("method.source=", "method/source=") for word in words]
    shared = [*SMALL, f"method={method}", *words, f"outputs={tmp_path}"]
    done = run(resolve(*shared, *QUIET, "evaluation.every=1"))
    record, directory = done.record, done.directory
    (teacher,) = (tmp_path / "cache").glob("teacher-*/model.safetensors")
    nowhere = ["dataset=none", "dataset.shape=[1,8,8]", "dataset.num_classes=10"]
    nowhere += ["dataset.mean=[0.305]", "dataset.std=[0.377]", f"model.checkpoint={teacher}"]
    done = run(resolve(*shared, *QUIET, *nowhere))
    blind, blind_directory = done.record, done.directory

    assert record["access"] == blind["access"] == "none"
    assert blind["accuracy"]["unlearned"]["test"]["retain"] is None
    seeing_student = load_file(directory / "student.safetensors")
    blind_student = load_file(blind_directory / "student.safetensors")
    original = load_file(teacher)
    assert seeing_student.keys() == blind_student.keys()
    for key, tensor in seeing_student.items():
        assert torch.equal(tensor, blind_student[key]), key
    assert not all(torch.equal(original[key], t) for key, t in blind_student.items())


@pytest.mark.parametrize(
    "method",
    [
        pytest.param(name, marks=[] if name in ("unsir", "ssd") else pytest.mark.slow)
        for name in GRANTED
    ],
)
def test_a_run_on_real_images_works_and_records_its_access(tmp_path: Path, method: str) -> None:
    one_epoch = [] if method in ("ssd", "subspace") else ["method.epochs=1"]
    shared = [*SMALL, f"method={method}", *one_epoch, "method.source.most=30"]
    done = run(resolve(*shared, *QUIET, "forget=[1,3]", f"outputs={tmp_path}"))
    record, directory = done.record, done.directory
    assert record["status"] == "complete"
    assert record["access"] == GRANTED[method]
    (teacher,) = (tmp_path / "cache").glob("teacher-*/model.safetensors")
    before, after = load_file(teacher), load_file(directory / "student.safetensors")
    assert not all(torch.equal(value, after[key]) for key, value in before.items())


def test_a_method_that_needs_data_is_refused_without(cli: Cli) -> None:
    done = cli(
        "dataset=none",
        "dataset.shape=[1,8,8]",
        "dataset.num_classes=10",
        "dataset.mean=[0]",
        "dataset.std=[1]",
        "model.checkpoint=none.safetensors",
        "method=retrain",
        code=2,
    )
    assert len(done.stderr.splitlines()) == 1
