"""Linear probes: how well a few labelled rows tell the forget classes apart by the features.

"An Illusion of Unlearning?", AISTATS 2026, arXiv 2604.08271; here with few labels. With all
labels, a linear probe recognises even a class that a network has never seen. Networks differ in
how few labels it takes.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt
from pydantic.dataclasses import dataclass
from torch import nn

from unlearn.config.schema import CLOSED
from unlearn.data.tensors import Split
from unlearn.evaluation.audit import TEST_PARTS, AuditedNetwork, AuditFigure, AuditFigures
from unlearn.evaluation.base import (
    FigureName,
    Figures,
    MetricContext,
    Models,
    average,
    measure_models,
)
from unlearn.models.features import feature_places, features_at

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

Features = NDArray[np.floating]
Labels = NDArray[np.int64]

_MAX_STEPS = 100  # of the solver


def fit_classifier(features: Features, labels: Labels) -> LogisticRegression:
    """Fit a logistic regression of the classes, in at most 100 steps of the solver.

    Args:
        features: (N, D).
        labels: Class of each row (N,).
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        # On a collapsed network's features the solver may not converge; its answers count.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(max_iter=_MAX_STEPS).fit(features, labels)


@dataclass(config=CLOSED)
class FewShotProbe:
    """Settings of a linear probe, shared by the metric and the audit.

    Args:
        shots: Labelled training rows of each class.
        draws: Number of draws of these rows, over which the score is averaged.
    """

    shots: PositiveInt
    draws: PositiveInt

    def score(
        self,
        train: tuple[Features, Labels],
        test: tuple[Features, Labels],
        forget: tuple[int, ...],
    ) -> float:
        """Score how well few labelled rows tell the forget classes from the others.

        A logistic regression of all K classes is fitted to `shots` rows of each. The score is the
        balanced accuracy of its answers, taken as forget class or not, averaged over the draws.

        Args:
            train: Features (N, D) and classes (N,) of the rows to draw from. A class with too few
                rows gives some of them again.
            test: Features (M, D) and classes (M,) of the rows to score on.
            forget: Forget classes.

        Returns:
            Percent; 50 is chance.
        """
        return self.score_each(train, test, [forget])[0]

    def score_each(
        self,
        train: tuple[Features, Labels],
        test: tuple[Features, Labels],
        groups: Sequence[tuple[int, ...]],
    ) -> list[float]:
        """Score several groups of classes by the same fits, each group as `score` does.

        Args:
            train: Features (N, D) and classes (N,) of the rows to draw from.
            test: Features (M, D) and classes (M,) of the rows to score on.
            groups: Groups of classes; each is told from all other classes.

        Returns:
            Percent for each group; 50 is chance.
        """
        from sklearn.metrics import balanced_accuracy_score
        from sklearn.preprocessing import StandardScaler

        scaler, (labels, test_labels) = StandardScaler().fit(train[0]), (train[1], test[1])
        features, test_features = scaler.transform(train[0]), scaler.transform(test[0])
        pools = [np.flatnonzero(labels == c) for c in np.unique(labels)]
        scores = []
        for draw in range(self.draws):
            turn = np.arange(draw * self.shots, (draw + 1) * self.shots)
            rows = np.concatenate([pool.take(turn, mode="wrap") for pool in pools])
            answers = fit_classifier(features[rows], labels[rows]).predict(test_features)
            scores.append(
                [
                    balanced_accuracy_score(np.isin(test_labels, group), np.isin(answers, group))
                    for group in groups
                ]
            )
        return [100 * float(np.mean(drawn)) for drawn in zip(*scores, strict=True)]


@dataclass(config=CLOSED, kw_only=True)
class Probe(FewShotProbe):
    """Scores of a linear probe at each place of features, of every model, in percent.

    A class that is masked in the last layer is as recognisable as before in the features. The
    reference is the retrained model's score, not chance.

    Args:
        most: Upper limit on the test rows of each class.
        grid: Side g of the g x g grid that feature maps are averaged to.
    """

    most: PositiveInt
    grid: PositiveInt
    needs_data: ClassVar[bool] = True
    figure_names: ClassVar[Mapping[str, FigureName]] = {
        "penultimate": FigureName("probe", "points"),
        "floor.penultimate": FigureName("probe floor", "points"),
        "excess": FigureName("probe max", "points"),
        "floor.excess": FigureName("probe max floor", "points"),
        "unlearned.-1": FigureName("probe score", "%"),
        "retrained.-1": FigureName("retrained probe score", "%"),
    }

    def __call__(self, models: Models, context: MetricContext) -> Figures:
        """Probe all models and a freshly initialised network.

        Returns:
            `layers`: places of the features, the penultimate last; a score for each place, in a
            list for each model, in one for each of the `references`, and in `random` for the
            fresh network; `penultimate`: unlearned - retrained at the last place, points;
            `excess`: largest absolute difference over the places, points; `floor`: absolute
            values of both for the references in place of unlearned, averaged, None without
            references.
        """
        request, data = context.request, context.data
        assert data is not None
        assert models.retrained is not None
        places = feature_places(models.original, request.attention)
        random = np.random.default_rng(request.seed)
        train = _draw_rows(data.train, self.shots * self.draws, random)
        test = _draw_rows(data.test, self.most, random)

        def measure(network: nn.Module) -> list[float]:
            features, test_features = (
                features_at(network, places, split.images, request.hardware, grid=self.grid)
                for split in (train, test)
            )
            labels, test_labels = train.labels.cpu().numpy(), test.labels.cpu().numpy()
            return [
                self.score((x.numpy(), labels), (z.numpy(), test_labels), request.forget)
                for x, z in zip(features, test_features, strict=True)
            ]

        settings = [self, places]
        found = measure_models(models, measure, settings, context.measurements)
        fresh = request.hardware.place(request.fresh()).eval()
        found["random"] = context.measurements.get_or_measure(
            settings, [fresh], lambda: measure(fresh)
        )
        differences, *floor = [
            [score - expected for score, expected in zip(scores, found["retrained"], strict=True)]
            for scores in (found["unlearned"], *found["references"])
        ]
        return {
            "layers": list(places),
            **found,
            "penultimate": differences[-1],
            "excess": max(map(abs, differences)),
            "floor": {
                "penultimate": average([abs(points[-1]) for points in floor]),
                "excess": average([max(map(abs, points)) for points in floor]),
            },
        }


def _draw_rows(split: Split, most: int, random: np.random.Generator) -> Split:
    """At most `most` rows of each class, in random order."""
    labels = split.labels.cpu().numpy()
    rows = np.concatenate(
        [random.permutation(np.flatnonzero(labels == c))[:most] for c in np.unique(labels)]
    )
    return Split(split.images[rows], split.labels[rows])


def gather_features(
    audited: AuditedNetwork, splits: Sequence[Split], place: str
) -> tuple[Features, Labels]:
    """Return the features (N, D) at a place, float64, and the classes (N,) of all rows of splits.

    Args:
        audited: Network whose features are taken.
        splits: Splits that the audit's context returned.
        place: Place of the features.
    """
    features = [audited.compute_features(split)[place].double().numpy() for split in splits]
    labels = [split.labels.cpu().numpy() for split in splits]
    return np.concatenate(features), np.concatenate(labels)


@dataclass(config=CLOSED)
class BlockProbe(FewShotProbe):
    """Score of a linear probe at each place of features, in percent."""

    needs_judge: ClassVar[bool] = False

    def __call__(self, audited: AuditedNetwork, peers: Sequence[AuditedNetwork]) -> AuditFigures:
        """Return the score of each place under the place's name."""
        context = audited.context
        train = context.draw_training_rows(self.shots * self.draws)
        tests = [context.select_rows(part) for part in TEST_PARTS]
        found = {}
        for place in audited.compute_features(train):
            rows = [gather_features(audited, splits, place) for splits in ([train], tests)]
            found[place] = AuditFigure(self.score(rows[0], rows[1], context.request.forget))
        return found
