"""Upper regrowth: the loss against NumPy, what stays, what starts fresh, and what it learns."""

from functools import partial

import numpy as np
import pytest
import torch
from scipy import special

from tests.helpers.methods import build, run, student_of
from tests.helpers.tiny import CLASSES, MakeRequest, seeded_net
from unlearn.errors import ConfigError
from unlearn.methods.regrow_upper import UpperTrainer
from unlearn.models.resnet_cifar import CifarResNet
from unlearn.synthesis.sources import Examples
from unlearn.training.augmentation import draw_mask

method = partial(build, "regrow_upper")


def make_trainer(make_request: MakeRequest, **changes: object) -> UpperTrainer:
    random = torch.Generator().manual_seed(0)
    return UpperTrainer(method(**changes), make_request(), "first", random)


def test_the_loss_by_hand(make_request: MakeRequest) -> None:
    trainer = make_trainer(make_request, temperature=3.0)
    random = torch.Generator().manual_seed(4)
    taught, logits = torch.randn(2, 12, CLASSES, generator=random)
    weights = torch.tensor([0.0, 1.0, 1.0] * 4)
    terms = trainer.terms(taught, logits, weights)
    t, z, w = taught.double().numpy(), logits.double().numpy(), weights.double().numpy()
    p, log_q = special.softmax(t[:, 1:] / 3, 1), special.log_softmax(z[:, 1:] / 3, 1)
    rows = (p * (np.log(p) - log_q)).sum(1)
    assert terms["divergence"].item() == pytest.approx(9 * (rows * w).sum() / w.sum(), rel=1e-5)
    forgotten = np.log1p(np.exp(z[:, 0] - special.logsumexp(z[:, 1:], axis=1)))
    assert terms["forget"].item() == pytest.approx((forgotten * w).sum() / w.sum(), rel=1e-5)


def test_the_lower_layers_stay_and_the_upper_start_fresh(make_request: MakeRequest) -> None:
    request = make_request()
    student = student_of(run(method(), request))
    for name, value in request.teacher.state_dict().items():
        same = torch.equal(value, student.state_dict()[name])
        assert same == name.startswith("first"), name
    trainer = make_trainer(make_request)
    fresh = make_request().fresh()
    for name, value in trainer.student.named_parameters():
        if not name.startswith("first"):
            torch.testing.assert_close(value.detach(), dict(fresh.named_parameters())[name])
    assert trainer.student.second[1].running_mean.eq(0).all()


def test_the_start_lies_between_teacher_and_fresh(make_request: MakeRequest) -> None:
    request, trainer = make_request(), make_trainer(make_request, start=0.25)
    taught, new = request.teacher.second[0].weight, request.fresh().second[0].weight
    found = trainer.student.second[0].weight
    torch.testing.assert_close(found, 0.25 * taught + 0.75 * new)


def test_rows_of_the_forget_class_are_not_kept(make_request: MakeRequest) -> None:
    request = make_request()
    images = torch.rand(200, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():  # as many images of class 0 as of all others
        logits = request.teacher(images)
        request.teacher.head.bias[0] += (logits[:, 1:].amax(1) - logits[:, 0]).median()
        kept = request.teacher(images).argmax(1) != 0
    trainer = UpperTrainer(method(views=1), request, "first", torch.Generator())
    trainer.keep_features(Examples(images, torch.zeros(200)))
    assert 0 < kept.sum() < 200
    torch.testing.assert_close(trainer.features, request.teacher.first(images[kept]))


def test_a_mask_takes_whole_cells() -> None:
    random = torch.Generator().manual_seed(0)
    maps = draw_mask(torch.zeros(50, 3, 8, 8), (2,), random)
    assert maps is not None
    assert maps.shape == (50, 1, 8, 8)
    cells = maps.view(50, 2, 4, 2, 4)
    assert (cells.all((2, 4)) | ~cells.any((2, 4))).all()
    assert 0.3 < maps.float().mean() < 0.7
    tokens = draw_mask(torch.zeros(5, 16, 3), (2, 3), random)
    assert tokens is not None
    assert tokens.shape == (5, 16, 1)
    assert draw_mask(torch.zeros(5, 16), (2,), random) is None


def test_the_students_logits_approach_the_teachers(make_request: MakeRequest) -> None:
    request = make_request()
    images = torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(9))

    def distance(steps: int) -> float:
        student = student_of(run(method(iterations=steps, student_steps=10), make_request()))
        with torch.no_grad():
            t, s = (net(images)[:, 1:].log_softmax(1) for net in (request.teacher, student))
        return float((t.exp() * (t - s)).sum(1).mean())

    assert distance(20) < 0.5 * distance(1)


def test_an_unknown_place_is_refused(make_request: MakeRequest) -> None:
    with pytest.raises(ConfigError, match=r"method\.cut=layer9") as found:
        method(cut="layer9").check_network(seeded_net(1))
    assert "first" in str(found.value)


def test_the_state_says_where_it_was_cut(make_request: MakeRequest) -> None:
    states = run(method(), make_request())
    assert states[-1].facts["cut"] == "first"
    assert run(method(cut=None), make_request())[-1].facts["cut"] == "none"


@pytest.mark.parametrize(
    ("kept", "place"), [(0.0, None), (0.4, "first"), (0.7, "second"), (1.0, "head")]
)
def test_the_cut_keeps_a_share_of_the_layers(kept: float, place: str | None) -> None:
    """A third of the weights lies in each of the three parts."""
    assert method(cut="auto", kept=kept).choose_cut(seeded_net(1)) == place


def test_three_quarters_of_resnet20_end_in_its_last_stage() -> None:
    assert method(cut="auto").choose_cut(CifarResNet(3, 10, 20)) == "layer3.0"
