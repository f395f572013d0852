"""Metrics against hand computations and SciPy, on models that they must not change."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.special import softmax
from torch import Tensor, nn

from tests.helpers.tiny import CPU, seeded_net, trained
from unlearn.config.schema import TrainingConfig
from unlearn.data.tensors import Data, Split
from unlearn.errors import RunError
from unlearn.evaluation.accuracy import Accuracy, measure_accuracy
from unlearn.evaluation.base import MetricContext, Models
from unlearn.evaluation.divergence import Divergence, compute_jensen_shannon
from unlearn.evaluation.membership import Membership
from unlearn.evaluation.onset import Onset
from unlearn.evaluation.relearn import Relearn, reaches_accuracy
from unlearn.protocol import Request
from unlearn.resume import Progress
from unlearn.training.supervised import train

MakeRequest = Callable[..., Request]


@pytest.fixture
def models(easy_data: Data) -> Models:
    original = trained(easy_data.train, (0, 1, 2, 3), 1)
    retrained = trained(easy_data.train, (1, 2, 3), 2)
    return Models(original, retrained, trained(easy_data.train, (1, 2, 3), 3))


@pytest.fixture
def context(easy_data: Data, make_request: MakeRequest, tmp_path: Path) -> MetricContext:
    history = pd.DataFrame({"stage": [], "step": [], "forget": []})
    return MetricContext(make_request(), easy_data, history, None, ("a", "b", "c", "d"), tmp_path)


class Fixed(nn.Module):
    """Answers each image with the logits written in its first pixels."""

    def forward(self, images: Tensor) -> Tensor:
        return images[:, 0, 0, :4]


def written(logits: Tensor, labels: Tensor) -> Split:
    images = torch.zeros(len(logits), 1, 8, 8)
    images[:, 0, 0, :4] = logits
    return Split(images, labels)


def test_training_learns_and_repeats_by_seed(easy_data: Data) -> None:
    first, again = (trained(easy_data.train, (0, 1, 2, 3), 1) for _ in range(2))
    found = measure_accuracy(first, easy_data.test, (0,), CPU)
    assert found["retain"] is not None
    assert found["retain"] >= 95
    for key, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])


def test_training_stops_on_a_loss_that_is_not_finite(easy_data: Data) -> None:
    settings = TrainingConfig(
        seed=0, epochs=3, batch_size=50, optimizer="sgd", learning_rate=1e38, weight_decay=0.0
    )
    with pytest.raises(RunError, match=r"training\.learning_rate"):
        list(train([seeded_net(1)], [easy_data.train], [settings], CPU, Progress()))


def test_accuracy_is_weighted_by_sample_not_by_class() -> None:
    labels = torch.tensor([1] * 9 + [2] + [0] * 4)
    answers = torch.tensor([1] * 9 + [3] + [0, 0, 0, 1])
    rows = written(nn.functional.one_hot(answers, 4).float(), labels)
    assert measure_accuracy(Fixed(), rows, (0,), CPU) == {"retain": 90.0, "forget": 75.0}
    assert measure_accuracy(Fixed(), rows.only((1, 2)), (0,), CPU) == {
        "retain": 90.0,
        "forget": None,
    }


def test_accuracy_covers_every_model_and_split(models: Models, context: MetricContext) -> None:
    found = Accuracy()(models, context)
    assert set(found) == {"original", "retrained", "unlearned", "references"}
    assert found["references"] == []
    assert found["original"]["train"]["forget"] > 95
    assert found["retrained"]["test"]["forget"] == 0


def relearn(**changes: float) -> Relearn:
    settings = {
        "learning_rate": 0.01,
        "batch_size": 50,
        "margin": 0.05,
        "max_steps": 60,
        "repeats": 1,
    }
    return Relearn(**{**settings, **changes})  # type: ignore[arg-type]


def test_relearning_counts_batches_on_copies(models: Models, context: MetricContext) -> None:
    before = [copy.deepcopy(m.state_dict()) for _, m in models.items()]
    found = relearn()(models, context)
    for (_, network), state in zip(models.items(), before, strict=True):
        assert all(torch.equal(v, state[k]) for k, v in network.state_dict().items())

    assert context.data is not None
    original = measure_accuracy(models.original, context.data.test, (0,), CPU)["forget"]
    assert original is not None
    assert found["target"] == pytest.approx(0.95 * original)
    assert 0 < found["retrained_steps"] < 60
    assert found["ain"] == found["unlearned_steps"] / found["retrained_steps"]
    assert found["resolution"] == 1 / found["retrained_steps"]
    assert found["censored"] is False


def test_relearning_by_hand(models: Models, context: MetricContext) -> None:
    """The same count from a plain training loop over the same batches."""
    data = context.data
    assert data is not None
    assert models.retrained is not None
    found = relearn()(models, context)
    network = copy.deepcopy(models.retrained)
    optimizer = torch.optim.Adam(network.parameters(), 0.01, fused=True)
    order = torch.Generator().manual_seed(context.request.seed)
    test = data.test.only((0,))
    steps = 0
    while True:
        for rows in torch.randperm(len(data.train), generator=order).split(50):
            network.train()
            loss = nn.functional.cross_entropy(
                network(data.train.images[rows]), data.train.labels[rows]
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            steps += 1
            network.eval()
            right = (network(test.images).argmax(1) == 0).float().mean().item() * 100
            if right >= found["target"]:
                assert steps == found["retrained_steps"]
                return


@pytest.mark.parametrize(("right", "rows"), [(9, 11), (7, 18), (25, 60), (50, 60), (60, 60)])
def test_an_accuracy_reaches_itself_whatever_its_rounding(right: int, rows: int) -> None:
    answers = nn.functional.one_hot((torch.arange(rows) >= right).long(), 4).float()
    split = written(answers, torch.zeros(rows, dtype=torch.long))
    target = measure_accuracy(Fixed(), split, (0,), CPU)["forget"]
    assert target is not None
    assert reaches_accuracy(Fixed(), split, target, CPU)
    assert not reaches_accuracy(Fixed(), split, target + 50 / rows, CPU)


def test_the_original_has_nothing_to_relearn(models: Models, context: MetricContext) -> None:
    same = Models(models.original, models.retrained, models.original)
    found = relearn()(same, context)
    assert found["unlearned_steps"] == 0
    assert found["ain"] == 0


def test_a_count_at_its_limit_is_censored(models: Models, context: MetricContext) -> None:
    found = relearn(max_steps=1, learning_rate=1e-6)(models, context)
    assert found["censored"] is True
    assert found["ain"] is None
    assert found["resolution"] is None


def test_repeats_average_over_orders(models: Models, context: MetricContext) -> None:
    several = relearn(repeats=4)(models, context)
    assert several["resolution"] == pytest.approx(1 / (4 * several["retrained_steps"]))
    assert (4 * several["retrained_steps"]) == int(4 * several["retrained_steps"])


def attacked(confident_members: bool, context: MetricContext) -> float:
    """AUC on 600 + 600 rows whose entropies differ between train and test, or do not."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(1200) % 4

    def split(sharpness: float) -> Split:
        noise = torch.randn(1200, 4, generator=generator)
        return written(noise + sharpness * nn.functional.one_hot(labels, 4), labels)

    train_rows = split(12.0 if confident_members else 2.0)
    data = copy.copy(context.data)
    assert data is not None
    object.__setattr__(data, "train", train_rows)
    object.__setattr__(data, "test", split(2.0))
    changed = MetricContext(
        context.request, data, context.history, None, (), context.picture_folder
    )
    found = Membership(most=300, penalty=3.0)(Models(Fixed(), None, Fixed()), changed)
    auc: float = found["unlearned"]["auc"]
    return auc


def test_membership_is_near_one_where_members_are_sure(context: MetricContext) -> None:
    assert attacked(True, context) > 0.97


def test_membership_is_chance_where_nothing_differs(context: MetricContext) -> None:
    """300 against 300: the AUC's standard error is 0.024, so that 0.08 is over three of them."""
    assert abs(attacked(False, context) - 0.5) < 0.08


def test_membership_beside_retrained_networks(models: Models, context: MetricContext) -> None:
    references = tuple(trained(context.data.train, (1, 2, 3), seed) for seed in (4, 5))  # type: ignore[union-attr]
    found = Membership(most=50, penalty=3.0)(
        Models(models.original, models.retrained, models.unlearned, references), context
    )
    retrained, unlearned = found["retrained"]["auc"], found["unlearned"]["auc"]
    others = [reference["auc"] for reference in found["references"]]
    assert len({retrained, unlearned, *others}) == 4
    assert found["gap"] == pytest.approx(abs(unlearned - retrained))
    assert found["floor"] == pytest.approx(np.mean([abs(auc - retrained) for auc in others]))


def test_jensen_shannon_against_scipy() -> None:
    generator = np.random.default_rng(0)
    p, q = (softmax(4 * generator.standard_normal((50, 6)), axis=1) for _ in range(2))
    expected = jensenshannon(p, q, axis=1, base=2) ** 2
    found = compute_jensen_shannon(torch.from_numpy(p), torch.from_numpy(q))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    disjoint = compute_jensen_shannon(torch.eye(2).double(), torch.eye(2).double().flip(0))
    np.testing.assert_allclose(disjoint, 1.0)


def test_divergence_is_zero_from_itself_and_split_by_class(
    models: Models, context: MetricContext
) -> None:
    assert models.retrained is not None
    same = Divergence()(Models(models.original, models.retrained, models.retrained), context)
    assert same == {"retain": 0.0, "forget": 0.0, "floor": {"retain": None, "forget": None}}
    other = Divergence()(Models(models.original, models.retrained, models.original), context)
    assert other["forget"] > 0.5 > other["retain"]
    floor = Divergence()(
        Models(models.original, models.retrained, models.retrained, (models.original,) * 2), context
    )["floor"]
    assert floor == {"retain": other["retain"], "forget": other["forget"]}


def onset(curve: dict[int, float], context: MetricContext) -> dict[str, float | None]:
    history = pd.DataFrame(
        {"stage": "transfer", "step": list(curve), "forget": list(curve.values())}
    )
    extra = pd.DataFrame({"stage": ["teacher"], "step": [1], "forget": [None]})
    joined = pd.concat([extra, history])
    changed = MetricContext(context.request, context.data, joined, None, (), context.picture_folder)
    return dict(Onset(threshold=1.0)(Models(Fixed(), None, Fixed()), changed))


def test_onset_of_a_rise(context: MetricContext) -> None:
    risen = onset({10: 0.0, 20: 0.0, 30: 6.0, 40: 20.0}, context)
    assert risen == {
        "step": 30,
        "area": pytest.approx((0 + 3 + 13) / 3),
        "largest": 20,
        "final": 20,
    }
    never = onset({10: 0.0, 20: 0.5, 40: 1.0}, context)
    assert never["step"] is None
    assert never["largest"] == 1.0


def test_onset_of_a_warm_start_counts_from_when_it_was_down(context: MetricContext) -> None:
    warm = onset({10: 90.0, 20: 0.0, 30: 0.0, 40: 5.0}, context)
    assert warm["step"] == 40
    assert warm["largest"] == 5.0, "the first quarter is left out"
    assert onset({10: 90.0, 20: 50.0}, context)["step"] is None


def test_onset_without_observations(context: MetricContext) -> None:
    found = Onset(threshold=1.0)(Models(Fixed(), None, Fixed()), context)
    assert found == {"step": None, "area": None, "largest": None, "final": None}


def test_relearning_looks_at_no_more_rows_than_decide(easy_data: Data) -> None:
    """The same answer as the whole split gives, from a part of it where too many are wrong."""
    split = Split(easy_data.test.images.repeat(4, 1, 1, 1), easy_data.test.labels.repeat(4))
    network = seeded_net(1)
    right = 100 * (network(split.images).argmax(1) == split.labels).double().mean().item()
    assert 0 < right < 100
    seen = []
    network.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    for target, rows in ((0.0, len(split)), (right, len(split)), (100.0, 128)):
        seen.clear()
        assert reaches_accuracy(network, split, target, CPU) == (right >= target)
        assert sum(seen) == rows
    assert not reaches_accuracy(network, split, right + 1e-6, CPU)
