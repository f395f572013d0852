"""A run that is cut off and taken up again ends bit for bit as if it had never been cut off."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.helpers.methods import ON_FORGET_IMAGES, ON_OTHER_IMAGES, build
from tests.helpers.tiny import CPU, MakeRequest, seeded_net
from unlearn.config.schema import TrainingConfig
from unlearn.data.tensors import Data, Split
from unlearn.methods.retrain import Retrain
from unlearn.protocol import Method, Observed, Request, State
from unlearn.resume import Progress, ResumeFile
from unlearn.training.supervised import train

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("gkt", {"fresh_noise": True}),
    ("gkt", {"batch_norm": "train", "generator_steps": 2}),
    ("gkt", {"schedule": "published", "selection": "oracle", "batch_norm": "published"}),
    ("regrow", {"pool": 2, "gate": 0.9}),
    ("regrow_upper", {"cut": "auto"}),
    ("inversion", {"flip": True}),
    ("inversion", {"batch_norm": "train", "labels": "hard"}),
    ("noise", {"batch_norm": "train", "patience": 1, "epochs": 2, "repair_epochs": 3}),
    ("ispf", {}),
    ("embeddings", {"layer": "first", "embeddings": 20, "batch_size": 8, "epochs": 3}),
    ("head_only", {"images": 3, "inversion_steps": 4, "epochs": 3, "batch_size": 5}),
    *[(name, {"batch_size": 3, "epochs": 3}) for name in sorted(ON_FORGET_IMAGES)],
]


def answer(step: int) -> Observed:
    """What an oracle method is told: the best D_r comes early, so that selection shows."""
    return Observed(retain=[50.0, 90.0, 70.0, 60.0, 55.0][step % 5], forget=0.0)


def through(storage: dict[str, Any]) -> dict[str, Any]:
    """The state as a file gives it back."""
    file = io.BytesIO()
    torch.save(storage, file)
    file.seek(0)
    loaded: dict[str, Any] = torch.load(file, weights_only=True)
    return loaded


def steps_of(
    method: Method, request: Request, cut_after: int | None = None, data: Split | None = None
) -> tuple[list[State], dict[str, Any] | None]:
    """Run a method to its end, or until it has finished a number of steps; what was kept then."""
    oracle = method.access == "oracle"
    steps, states, kept = method.unlearn(request, data), [], None
    state = next(steps)
    while True:
        states.append(state)
        if cut_after is not None:
            kept = request.progress.taken or kept
            if len(states) > cut_after:
                return states, kept
            request.progress.wanted = True
        try:
            state = steps.send(answer(state.step) if oracle else None)
        except StopIteration:
            return states, kept


def weights(network: nn.Module | None) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(("name", "changes"), VARIANTS)
def test_methods_resume(make_request: MakeRequest, name: str, changes: dict[str, Any]) -> None:
    resumes_after_any_step(make_request, lambda: build(name, "inverted", **changes))


@pytest.mark.parametrize("source", ["real", "inverted"])
@pytest.mark.parametrize("name", sorted(ON_OTHER_IMAGES))
def test_methods_on_labelled_images_resume(
    make_request: MakeRequest, easy_data: Data, name: str, source: str
) -> None:
    data = easy_data.view(build(name, source).access, (0,))
    resumes_after_any_step(make_request, lambda: build(name, source), data)


def test_retraining_resumes(make_request: MakeRequest, easy_data: Data) -> None:
    settings = {"epochs": 4, "batch_size": 64, "optimizer": "adamw"}
    data = easy_data.view("retain", (0,))

    def method() -> Method:
        return Retrain(**settings, learning_rate=0.01, weight_decay=0.01)

    resumes_after_any_step(make_request, method, data)


def resumes_after_any_step(
    make_request: MakeRequest, make_method: Callable[[], Method], data: Split | None = None
) -> None:
    whole, _ = steps_of(make_method(), make_request(), data=data)
    wanted = weights(whole[-1].student)
    for cut_after in range(1, len(whole)):
        torch.manual_seed(cut_after)  # a new process starts from other random numbers
        _, kept = steps_of(make_method(), make_request(), cut_after, data)
        assert kept, f"nothing was kept by step {cut_after}"
        torch.manual_seed(1000)
        request = make_request(progress=Progress(through(kept)))
        rest, _ = steps_of(make_method(), request, data=data)
        assert same(weights(rest[-1].student), wanted), f"cut off after step {cut_after}"
        told = [(s.stage, s.step) for s in whole]
        assert [(s.stage, s.step) for s in rest] == told[-len(rest) :], "the steps go on"
        assert len(rest) < len(whole), "what was done is not done again"


PLAIN = {"optimizer": "adamw"}
AUGMENTED = {"optimizer": "muon", "augment": {"crop": 1, "flip": True}, "label_smoothing": 0.1}


@pytest.mark.parametrize("more", [PLAIN, AUGMENTED], ids=["plain", "augmented"])
def test_a_training_cut_off_after_any_epoch_ends_at_the_same_bits(
    easy_data: Data, more: dict[str, Any]
) -> None:
    plain = {"seed": 3, "epochs": 4, "batch_size": 64, "learning_rate": 0.01, "weight_decay": 0.01}
    settings = TrainingConfig.model_validate(plain | more)

    def trained(progress: Progress, cut_after: int | None = None) -> tuple[nn.Module, list[Any]]:
        network, told = seeded_net(1), []
        for epoch, loss in train(network, easy_data.train, settings, CPU, progress):
            told.append((epoch, loss))
            if epoch == cut_after:
                break
            progress.wanted = cut_after is not None
        return network, told

    network, told = trained(Progress())
    for cut_after in (2, 3, 4):
        progress = Progress()
        trained(progress, cut_after)
        again, told_again = trained(Progress(through(progress.taken)))
        assert same(weights(again), weights(network))
        assert told_again == told, "the epochs done before come first"


def test_no_state_is_copied_unless_requested() -> None:
    copies = []

    def parts() -> dict[str, Any]:
        copies.append(1)
        return {}

    progress = Progress()
    list(progress.steps("loop", 50, parts))
    assert len(copies) == 1, "only the end of the loop"
    assert progress.taken is None


def test_a_file_of_another_version_or_cut_short_is_not_taken_up(tmp_path: Path) -> None:
    path, ours = tmp_path / "resume.pt", {"torch": "2", "git": "a"}
    progress = Progress(taken={"loop": {"step": 1, "parts": {}, "random": []}})
    ResumeFile(path, 0.0, ours).keep(progress, spent=2.5)
    kept = ResumeFile(path, 0.0, ours).load()
    assert kept["spent"] == 2.5
    assert ResumeFile(path, 0.0, {**ours, "git": "b"}).load() is None
    path.write_bytes(path.read_bytes()[:-20])
    assert ResumeFile(path, 0.0, ours).load() is None
    assert ResumeFile(tmp_path / "none.pt", 0.0, ours).load() is None


def test_a_flipped_bit_is_noticed_wherever_it_matters(tmp_path: Path) -> None:
    path = tmp_path / "resume.pt"
    weights = {"weights": torch.arange(7.0), "step": 3}
    ResumeFile(path, 0.0, {}).keep(Progress(taken={"loop": weights}), spent=2.5)
    whole, noticed = path.read_bytes(), 0
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        kept = ResumeFile(path, 0.0, {}).load()
        if kept is None:
            noticed += 1
        else:  # padding, a date: what the file holds is the same
            loop = kept["stages"]["loop"]
            assert torch.equal(loop["weights"], weights["weights"]), place
            assert (loop["step"], kept["spent"]) == (3, 2.5)
    assert noticed > 500


def test_a_null_interval_writes_no_checkpoint(tmp_path: Path) -> None:
    progress = Progress(taken={"loop": {}})
    ResumeFile(tmp_path / "resume.pt", None, {}).keep(progress)
    assert not (tmp_path / "resume.pt").exists()
    assert not progress.wanted


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = ResumeFile(tmp_path / "resume.pt", 0.0, {})
    file.keep(Progress(taken={"loop": {"step": 1}}))

    def fill_disk(values: Any, target: Any) -> None:
        target.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("torch.save", fill_disk)
    progress = Progress(taken={"loop": {"step": 2}})
    file.keep(progress)
    assert progress.taken is None, "the run goes on"
    file.keep(Progress(taken={"loop": {"step": 3}}))
    kept = file.load()
    assert kept["stages"] == {"loop": {"step": 1}}
    assert [path.name for path in tmp_path.iterdir()] == ["resume.pt"]
    assert capsys.readouterr().err.count("resume.pt") == 1, "said once"
