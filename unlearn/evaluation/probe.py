"""Linear probes: how well a few labelled rows read the forget classes out of the features.

"An Illusion of Unlearning?" (AISTATS 2026, arXiv 2604.08271), with few labels.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt
from pydantic.dataclasses import dataclass
from torch import nn

from unlearn.config.schema import CLOSED
from unlearn.data.tensors import Split
from unlearn.evaluation.audit import Figure, Findings, Subject
from unlearn.evaluation.base import Figures, MetricContext, Models, mean_of, measure_models
from unlearn.models.features import feature_places, features_at

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

Rows = NDArray[np.float64]


Labels = NDArray[np.int64]


_STEPS = 100  # of the solver, at most


@dataclass(config=CLOSED)
class Probe:
    """Scores of a linear probe of a few labelled rows, {model: a score for each layer}, percent.

    Masking a class in the last layer leaves it as readable as ever in the features before it.
    With all labels a probe reads even a class that a network has never seen; what tells networks
    apart is how few labels it takes, so that the probe gets `shots` rows of each class (see
    `readout`). The reference is the retrained model's score, not chance.

    Args:
        shots: labelled training rows of each class.
        draws: of those rows, over which the score is averaged.
        most: test rows of each class, at most.
        grid: maps are averaged to so many by so many positions.
    """

    shots: PositiveInt
    draws: PositiveInt
    most: PositiveInt
    grid: PositiveInt
    needs_data: bool = True

    def __call__(self, models: Models, setting: MetricContext) -> Figures:
        """Probe all models and a fresh network; see `Metric`.

        Returns:
            `layers`: where features are read, the penultimate last; a list of scores for each
            model and for `random`; `penultimate`: unlearned - retrained at the last of them;
            `excess`: the largest absolute difference over the layers; `floor`: both, without
            their sign, of the references from the retrained model, averaged (None without any).
        """
        request, data = setting.request, setting.data
        assert data is not None
        assert models.retrained is not None
        places = feature_places(models.original, request.attention)
        random = np.random.default_rng(request.seed)
        taught = _some(data.train, self.shots * self.draws, random)
        asked = _some(data.test, self.most, random)
        score = partial(self._scores, places=places, taught=taught, asked=asked, setting=setting)
        what = [self, places]
        found = measure_models(models, score, what, setting.shelf)
        fresh = request.hardware.place(request.fresh()).eval()
        found["random"] = setting.shelf.kept(what, [fresh], lambda: score(fresh))
        off, *floor = [
            [score - reached for score, reached in zip(scores, found["retrained"], strict=True)]
            for scores in (found["unlearned"], *found["references"])
        ]
        return {
            "layers": list(places),
            **found,
            "penultimate": off[-1],
            "excess": max(map(abs, off)),
            "floor": {
                "penultimate": mean_of([abs(points[-1]) for points in floor]),
                "excess": mean_of([max(map(abs, points)) for points in floor]),
            },
        }

    def _scores(
        self,
        network: nn.Module,
        places: tuple[str, ...],
        taught: Split,
        asked: Split,
        setting: MetricContext,
    ) -> list[float]:
        hardware, forget = setting.request.hardware, setting.request.forget
        known, unseen = (
            features_at(network, places, split.images, hardware, grid=self.grid)
            for split in (taught, asked)
        )
        labels, truth = taught.labels.cpu().numpy(), asked.labels.cpu().numpy()
        return [
            readout(x.numpy(), labels, z.numpy(), truth, forget, shots=self.shots, draws=self.draws)
            for x, z in zip(known, unseen, strict=True)
        ]


def readout(
    known: Rows,
    labels: Labels,
    unseen: Rows,
    truth: Labels,
    forget: tuple[int, ...],
    *,
    shots: int,
    draws: int,
) -> float:
    """How well a few labelled rows tell the forget classes from the rest: percent, 50 is chance.

    Logistic regression of all K classes on `shots` rows of each; the score is the balanced
    accuracy of its answering with a forget class, averaged over the draws of those rows.

    Args:
        known: features (N, D) of rows to draw from.
        labels: their classes (N,).
        unseen: features (M, D) to score on.
        truth: their classes (M,).
        forget: the forget classes.
        shots: rows of each class a draw; a class with too few of them is drawn anew.
        draws: over which the score is averaged.
    """
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(known)
    known, unseen, wanted = (
        scaler.transform(known),
        scaler.transform(unseen),
        np.isin(truth, forget),
    )
    pools = [np.flatnonzero(labels == c) for c in np.unique(labels)]
    scores = []
    for draw in range(draws):
        turn = np.arange(draw * shots, (draw + 1) * shots)
        rows = np.concatenate([pool.take(turn, mode="wrap") for pool in pools])
        probe = classifier(known[rows], labels[rows])
        scores.append(balanced_accuracy_score(wanted, np.isin(probe.predict(unseen), forget)))
    return 100 * float(np.mean(scores))


def _some(split: Split, most: int, random: np.random.Generator) -> Split:
    """At most so many rows of each class, in random order."""
    labels = split.labels.cpu().numpy()
    rows = np.concatenate(
        [random.permutation(np.flatnonzero(labels == c))[:most] for c in np.unique(labels)]
    )
    return Split(split.images[rows], split.labels[rows])


def classifier(features: Rows, labels: Labels) -> LogisticRegression:
    """Logistic regression of the classes (N,) on features (N, D), after 100 steps at most."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        # A collapsed network's features may never let it converge: its answers count as they are.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(max_iter=_STEPS).fit(features, labels)


@dataclass(config=CLOSED)
class BlockProbe:
    """Balanced accuracy of a linear probe of a few labelled rows, percent, block by block.

    Args:
        shots: labelled training rows of each class.
        draws: of those rows, over which the score is averaged.
    """

    shots: PositiveInt
    draws: PositiveInt
    needs_judge: bool = False

    def __call__(self, subject: Subject, peers: Sequence[Subject]) -> Findings:
        """One number a place where features are read; see `Audit`."""
        bench = subject.bench
        taught = bench.taught(self.shots * self.draws)
        labels = taught.labels.cpu().numpy()
        asked = [bench.rows(part) for part in ("retain", "forget")]
        truth = np.concatenate([rows.labels.cpu().numpy() for rows in asked])
        unseen = [subject.features(rows) for rows in asked]
        return {
            place: Figure(
                readout(
                    known.double().numpy(),
                    labels,
                    np.concatenate([features[place].double().numpy() for features in unseen]),
                    truth,
                    bench.request.forget,
                    shots=self.shots,
                    draws=self.draws,
                )
            )
            for place, known in subject.features(taught).items()
        }
