"""Linear probes: what they find in features made to hold a class, and in networks that do not."""

import copy
import warnings

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from tests.helpers.tiny import TinyNet, seeded_net
from unlearn.evaluation.base import MetricContext, Models
from unlearn.evaluation.probe import FewShotProbe, Probe, fit_classifier

Rows = tuple[np.ndarray, np.ndarray]


def plant(separation: float, seed: int) -> Rows:
    """Rows of four classes: 1 to 3 stand apart, 0 hides among 1 unless it is moved away."""
    random = np.random.default_rng(seed)
    labels = np.arange(400) % 4
    centres = np.eye(6)[[1, 1, 2, 3]] * 8.0
    centres[0, 5] = separation
    return random.standard_normal((400, 6)) + centres[labels], labels


@pytest.mark.parametrize(("separation", "lowest", "highest"), [(12.0, 99.0, 100.0), (0.0, 60, 85)])
def test_the_probe_finds_a_planted_class(separation: float, lowest: float, highest: float) -> None:
    """As another linear classifier, with all labels, finds it: 75 is guessing between 0 and 1."""
    train, (test, truth) = plant(separation, 0), plant(separation, 1)
    found = FewShotProbe(10, 10).score(train, (test, truth), (0,))
    assert lowest <= found <= highest
    answers = LinearDiscriminantAnalysis().fit(*train).predict(test) == 0
    independent = 50 * (answers[truth == 0].mean() + (~answers[truth != 0]).mean())
    assert found == pytest.approx(independent, abs=8)


def test_the_score_counts_a_set_of_classes_as_one() -> None:
    """Classes 0 and 1 cannot be told from each other, but well from 2 and 3."""
    both = FewShotProbe(10, 5).score(plant(0.0, 0), plant(0.0, 1), (0, 1))
    assert both == pytest.approx(100, abs=1)


def test_features_on_which_no_solver_ends_are_answered_without_a_warning() -> None:
    features, labels = plant(12.0, 0)
    features = features * np.array([1, 1e3, 1e4, 1, 1e3, 1])
    with pytest.warns(ConvergenceWarning):
        theirs = LogisticRegression(max_iter=100).fit(features, labels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = fit_classifier(features, labels)
    np.testing.assert_array_equal(found.predict(features), theirs.predict(features))


def shut(network: TinyNet) -> TinyNet:
    """A copy whose second layer gives the same features for every image."""
    constant = copy.deepcopy(network)
    with torch.no_grad():
        constant.second[0].weight.zero_()
    return constant


def test_differences_from_the_retrained_model_by_layer(
    context: MetricContext,
) -> None:
    seeing = seeded_net(1)
    probe = Probe(shots=5, draws=3, most=30, grid=1)
    retrained = shut(seeing)
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
    swapped = probe(Models(seeing, seeing, shut(seeing)), context)
    assert swapped["penultimate"] == -found["penultimate"]
    assert swapped["floor"] == {"penultimate": None, "excess": None}
