"""Membership inference: entropy attack, likelihood ratio (LiRA) and neighbouring classes (MIA-NN).

"Membership Inference Attacks From First Principles", Carlini et al., S&P 2022, offline. U-LiRA,
Hayes et al., SaTML 2025. "MIA-NN", arXiv 2506.20893.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from unlearn.config.schema import CLOSED
from unlearn.data.tensors import Split
from unlearn.evaluation.audit import Figure, Findings, Subject
from unlearn.evaluation.base import (
    Figures,
    MetricContext,
    Models,
    mean_of,
    measure_models,
)
from unlearn.evaluation.divergence import jensen_shannon
from unlearn.filters.entropy import entropy
from unlearn.models.outputs import compute_logits


@dataclass(config=CLOSED)
class Membership:
    """AUC of the entropy attack on the forget classes, {model: {auc}}, and how far it is off.

    "Zero-Shot Machine Unlearning", section VI, balanced: an RBF support-vector machine on the
    entropy of the softmax learns members (retain rows of train) from non-members (retain rows of
    test), as many of each. Its decision values then rank the forget classes' train rows against
    their test rows. 0.5 is chance; the reference is the retrained model's figure: `gap` is the
    unlearned model's distance from it, `floor` that of the references, averaged.

    Args:
        most: rows of each kind, at most.
        penalty: C of the support-vector machine.
    """

    most: PositiveInt
    penalty: PositiveFloat
    needs_data: bool = True

    def __call__(self, models: Models, setting: MetricContext) -> Figures:
        """Attack all models; see `Metric`."""
        found = measure_models(
            models, lambda network: self._auc(network, setting), [self], setting.shelf
        )
        references = found.pop("references")
        figures: dict[str, Any] = {name: {"auc": auc} for name, auc in found.items()}
        figures |= {"references": [{"auc": auc} for auc in references], "gap": None, "floor": None}
        if "retrained" in found:
            reached = found["retrained"]
            figures["gap"] = abs(found["unlearned"] - reached)
            figures["floor"] = mean_of([abs(auc - reached) for auc in references])
        return figures

    def _auc(self, network: nn.Module, setting: MetricContext) -> float:
        from sklearn.metrics import roc_auc_score
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVC

        data, forget = setting.data, setting.request.forget
        assert data is not None
        retain = data.retained(forget)
        known, answers = self._balanced(network, data.train, data.test, retain, setting)
        attacked, truth = self._balanced(network, data.train, data.test, forget, setting)
        attack = make_pipeline(StandardScaler(), SVC(C=self.penalty)).fit(known, answers)
        return float(roc_auc_score(truth, attack.decision_function(attacked)))

    def _balanced(
        self,
        network: nn.Module,
        members: Split,
        others: Split,
        classes: tuple[int, ...],
        setting: MetricContext,
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        random = torch.Generator().manual_seed(setting.request.seed)
        splits = [members.only(classes), others.only(classes)]
        count = min(self.most, *(len(split) for split in splits))
        features = []
        for split in splits:
            rows = torch.randperm(len(split), generator=random)[:count].to(split.labels.device)
            chosen = Split(split.images[rows], split.labels[rows])
            features.append(
                entropy(compute_logits(network, chosen.images, setting.request.hardware))
            )
        values = torch.cat(features).double().cpu().numpy()[:, None]
        return values, np.repeat(np.array([1, 0]), count)


_FALSE_POSITIVES = 0.01


Score = Callable[[Tensor, Tensor], Tensor]


def attacked(target: Tensor, peers: Sequence[Tensor], score: Score) -> Findings:
    """Tell the rows of a network under attack from those of a retrained one that was held out.

    Each peer is held out in turn and the others are the shadow models, so that both sides'
    scores come from the same shadows: of a network that is as good as retrained the AUC is 0.5
    on average.

    Args:
        target: the statistic of the attacked network's answers, one a row (N, ...).
        peers: the same of retrained networks, two or more.
        score: of statistics (N, ...), given those of the shadows (S, N, ...): one a row (N,),
            higher for what the shadows are less likely to have answered.

    Returns:
        `auc` (0 to 1), the mean over those held out; `tpr`, percent, at 1% false positives, all
        of them together; `excess`, how much higher the scores are on average. Nothing with fewer
        than two peers.
    """
    from sklearn.metrics import roc_auc_score

    if len(peers) < 2:
        return {}
    areas, ours, theirs = [], [], []
    for index, held_out in enumerate(peers):
        shadows = torch.stack([*peers[:index], *peers[index + 1 :]])
        found, expected = score(target, shadows), score(held_out, shadows)
        truth = np.repeat([1, 0], [len(found), len(expected)])
        areas.append(float(roc_auc_score(truth, torch.cat([found, expected]).cpu().numpy())))
        ours.append(found)
        theirs.append(expected)
    positives, negatives = torch.cat(ours), torch.cat(theirs)
    limit = np.quantile(negatives.cpu().numpy(), 1 - _FALSE_POSITIVES)
    caught = (positives > float(limit)).double().mean().item()
    return {
        "auc": Figure(sum(areas) / len(areas)),
        "tpr": Figure(100 * caught, 100 / len(target)),
        "excess": Figure((positives.mean() - negatives.mean()).item()),
    }


@dataclasses.dataclass(frozen=True)
class LikelihoodRatio:
    """How much surer of a forgotten row's class a network is than networks that never saw it.

    The statistic is the logit-scaled confidence log(p / (1 - p)) of the true class. It is
    Gaussian over the shadows, with a mean for each row and, as advised where shadows are few,
    one variance for all, of which the ranking does not depend.
    """

    needs_judge: bool = False

    def __call__(self, subject: Subject, peers: Sequence[Subject]) -> Findings:
        """`auc`, `tpr` and `excess` (nats of log-odds), as `attacked` gives them."""
        labels = subject.bench.rows("members").labels
        target, *others = [
            scaled_confidence(one.logits("members"), labels) for one in (subject, *peers)
        ]
        return attacked(target, others, lambda found, shadows: found - shadows.mean(dim=0))


def scaled_confidence(logits: Tensor, labels: Tensor) -> Tensor:
    """log(p / (1 - p)) of each row's class (N,), of logits (N, K), without rounding p to 0 or 1."""
    logits, own = logits.double(), labels[:, None]
    others = logits.scatter(1, own, -torch.inf).logsumexp(dim=1)
    return logits.gather(1, own).squeeze(1) - others


@dataclasses.dataclass(frozen=True)
class NeighbourMembership:
    """How far a network's answers to forgotten rows are from those of networks without the class.

    Answers are the probabilities of the retain classes, renormalised. A row's score is their
    Jensen-Shannon divergence from the shadow models' mean answer, bits.
    """

    needs_judge: bool = False

    def __call__(self, subject: Subject, peers: Sequence[Subject]) -> Findings:
        """`auc`, `tpr` and `excess` (bits), as `attacked` gives them."""
        retain = list(subject.bench.request.retain)
        target, *others = [
            one.logits("members")[:, retain].double().softmax(dim=1) for one in (subject, *peers)
        ]
        return attacked(target, others, _surprise)


def _surprise(answers: Tensor, shadows: Tensor) -> Tensor:
    return jensen_shannon(answers, shadows.mean(dim=0))
