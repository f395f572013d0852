"""Linear probes: what they find in features made to hold a class, and in networks that do not."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from tests.helpers.tiny import CPU, TinyNet, seeded_net
from unlearn.data.tensors import Data
from unlearn.evaluation.base import MetricContext, Models
from unlearn.evaluation.probe import FewShotProbe, Probe, fit_classifier
from unlearn.models.features import feature_places, features_at
from unlearn.protocol import Request

MakeRequest = Callable[..., Request]


def planted(separation: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of four classes: 1 to 3 stand apart, 0 hides among 1 unless it is moved away."""
    random = np.random.default_rng(seed)
    labels = np.arange(400) % 4
    centres = np.eye(6)[[1, 1, 2, 3]] * 8.0
    centres[0, 5] = separation
    return random.standard_normal((400, 6)) + centres[labels], labels


@pytest.mark.parametrize(("separation", "lowest", "highest"), [(12.0, 99.0, 100.0), (0.0, 60, 85)])
def test_a_class_is_found_where_it_is_planted_and_not_where_it_is_absent(
    separation: float, lowest: float, highest: float
) -> None:
    """As another linear classifier, with all labels, finds it: 75 is guessing between 0 and 1."""
    (known, labels), (unseen, truth) = planted(separation, 0), planted(separation, 1)
    found = FewShotProbe(10, 10).score((known, labels), (unseen, truth), (0,))
    assert lowest <= found <= highest
    answers = LinearDiscriminantAnalysis().fit(known, labels).predict(unseen) == 0
    independent = 50 * (answers[truth == 0].mean() + (~answers[truth != 0]).mean())
    assert found == pytest.approx(independent, abs=8)


def test_the_score_counts_a_set_of_classes_as_one() -> None:
    """Classes 0 and 1 cannot be told from each other, but well from 2 and 3."""
    (known, labels), (unseen, truth) = planted(0.0, 0), planted(0.0, 1)
    both = FewShotProbe(10, 5).score((known, labels), (unseen, truth), (0, 1))
    assert both == pytest.approx(100, abs=1)


def test_features_on_which_no_solver_ends_are_answered_without_a_warning() -> None:
    features, labels = planted(12.0, 0)
    features = features * np.array([1, 1e3, 1e4, 1, 1e3, 1])
    with pytest.warns(ConvergenceWarning):
        theirs = LogisticRegression(max_iter=100).fit(features, labels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = fit_classifier(features, labels)
    np.testing.assert_array_equal(found.predict(features), theirs.predict(features))


def test_features_are_read_where_they_are_named(easy_data: Data) -> None:
    network = seeded_net(1)
    places = feature_places(network, ("first", "second"))
    assert places == ("first", "second", "head (input)")
    images = easy_data.test.images[:20]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    first, second, penultimate = features_at(network, places, images, CPU, grid=2, size=7)
    with torch.no_grad():
        by_hand = network.second(network.first(images))
        logits = network(images)
    assert first.shape == (20, 6 * 2 * 2)
    torch.testing.assert_close(second.view(20, 8, 2, 2), torch.nn.AvgPool2d(4)(by_hand))
    torch.testing.assert_close(penultimate, by_hand.mean(dim=(2, 3)))
    torch.testing.assert_close(network.head(penultimate).detach(), logits)
    assert all(torch.equal(value, before[k]) for k, value in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())


def blind(network: TinyNet) -> TinyNet:
    """Features that say nothing of an image: every filter of the second layer is shut."""
    shut = copy.deepcopy(network)
    with torch.no_grad():
        shut.second[0].weight.zero_()  # type: ignore[union-attr, operator]
    return shut


def test_the_difference_from_the_retrained_model_is_signed_and_by_layer(
    easy_data: Data, make_request: MakeRequest, tmp_path: Path
) -> None:
    seeing = seeded_net(1)
    context = MetricContext(make_request(), easy_data, pd.DataFrame(), None, ("a",) * 4, tmp_path)
    probe = Probe(shots=5, draws=3, most=30, grid=1)
    retrained = blind(seeing)
    found = probe(Models(seeing, retrained, seeing, (retrained, seeing)), context)
    assert found["layers"] == ["first", "second", "head (input)"]
    assert found["original"] == found["unlearned"]
    assert found["retrained"][0] == found["unlearned"][0], "the first layer is the same"
    assert found["retrained"][1:] == [50, 50]
    assert found["penultimate"] == found["unlearned"][2] - 50 > 20
    assert found["excess"] == max(found["unlearned"][1:]) - 50
    assert found["references"] == [found["retrained"], found["original"]]
    half = {"penultimate": found["penultimate"] / 2, "excess": found["excess"] / 2}
    assert found["floor"] == half, "the mean of none and of all"
    assert len(found["random"]) == 3
    swapped = probe(Models(seeing, seeing, blind(seeing)), context)
    assert swapped["penultimate"] == -found["penultimate"]
    assert swapped["floor"] == {"penultimate": None, "excess": None}
