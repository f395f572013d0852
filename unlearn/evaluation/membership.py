"""Membership inference: were rows of the forget classes among a network's training rows?

Three attacks: on the entropy of the answers ("Zero-Shot Machine Unlearning", Chundawat et al.,
TIFS 2023, section VI), by a likelihood ratio (LiRA, "Membership Inference Attacks From First
Principles", Carlini et al., S&P 2022, offline; applied to unlearning as U-LiRA, Hayes et al.,
SaTML 2025), and on neighbouring classes ("MIA-NN", arXiv 2506.20893).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from unlearn.config.schema import CLOSED
from unlearn.evaluation.audit import AuditedNetwork, AuditFigure, AuditFigures
from unlearn.evaluation.base import (
    FigureName,
    Figures,
    MetricContext,
    Models,
    average,
    measure_models,
)
from unlearn.evaluation.divergence import compute_jensen_shannon
from unlearn.filters.entropy import entropy
from unlearn.models.outputs import compute_logits

_FALSE_POSITIVE_RATE = 0.01

RowScore = Callable[[Tensor, Tensor], Tensor]


@dataclass(config=CLOSED)
class Membership:
    """AUC (0 to 1, 0.5 is chance) of the entropy attack on the forget classes.

    An RBF support-vector machine learns to tell members (training rows of the retain classes)
    from non-members (their test rows) by the entropy of the network's answer, from equally many
    rows of each kind. Its decision values then rank the forget classes' training rows against
    their test rows. The reference is the retrained model's AUC, not chance.

    Args:
        most: Upper limit on the rows of each kind.
        penalty: Parameter C of the support-vector machine.
    """

    most: PositiveInt
    penalty: PositiveFloat
    needs_data: ClassVar[bool] = True
    figure_names: ClassVar[Mapping[str, FigureName]] = {
        "unlearned.auc": FigureName("MIA"),
        "retrained.auc": FigureName("retrained MIA"),
        "gap": FigureName("MIA gap"),
        "floor": FigureName("MIA floor"),
    }

    def __call__(self, models: Models, context: MetricContext) -> Figures:
        """Attack all models.

        Returns:
            `{model: {"auc": AUC}}` and under `references` a list of the same; `gap`: absolute
            difference of unlearned and retrained; `floor`: absolute difference of reference and
            retrained, averaged over the references, None without references.
        """
        found = measure_models(
            models, lambda network: self._attack(network, context), [self], context.measurements
        )
        references = found.pop("references")
        figures: dict[str, Any] = {name: {"auc": auc} for name, auc in found.items()}
        figures |= {"references": [{"auc": auc} for auc in references], "gap": None, "floor": None}
        if "retrained" in found:
            expected = found["retrained"]
            figures["gap"] = abs(found["unlearned"] - expected)
            figures["floor"] = average([abs(auc - expected) for auc in references])
        return figures

    def _attack(self, network: nn.Module, context: MetricContext) -> float:
        from sklearn.metrics import roc_auc_score
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVC

        request = context.request
        entropies, is_member = self._collect(network, request.retain, context)
        attack = make_pipeline(StandardScaler(), SVC(C=self.penalty)).fit(entropies, is_member)
        entropies, is_member = self._collect(network, request.forget, context)
        return float(roc_auc_score(is_member, attack.decision_function(entropies)))

    def _collect(
        self, network: nn.Module, classes: tuple[int, ...], context: MetricContext
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Entropies (2n, 1) of n training and n test rows of some classes, and 1 or 0 (2n,)."""
        data, hardware = context.data, context.request.hardware
        assert data is not None
        random = torch.Generator().manual_seed(context.request.seed)
        splits = [data.train.only(classes), data.test.only(classes)]
        count = min(self.most, *(len(split) for split in splits))
        entropies = []
        for split in splits:
            rows = torch.randperm(len(split), generator=random)[:count].to(split.labels.device)
            entropies.append(entropy(compute_logits(network, split.images[rows], hardware)))
        values = torch.cat(entropies).double().cpu().numpy()[:, None]
        return values, np.repeat(np.array([1, 0]), count)


def attack_rows(target: Tensor, peers: Sequence[Tensor], score: RowScore) -> AuditFigures:
    """Tell rows as a network answers them from the same rows as a retrained network does.

    Each peer is held out in turn, and the other peers are the shadow models that score both
    sides. If the attacked network is as good as retrained, the AUC is 0.5 on average.

    Args:
        target: Statistic of the attacked network's answers to N rows (N, ...).
        peers: The same statistic of retrained networks, two or more.
        score: Maps a statistic (N, ...) and that of S shadow models (S, N, ...) to one score a
            row (N,), which is higher the less the shadow models would answer so.

    Returns:
        `auc`, 0 to 1: mean over the held-out peers; `tpr`, percent: rows found at a false-positive
        rate of 1%, over all held-out peers together; `excess`: mean score of the attacked
        network's rows less that of the held-out peers' rows. Nothing with fewer than two peers.
    """
    from sklearn.metrics import roc_auc_score

    if len(peers) < 2:
        return {}
    areas, positive_scores, negative_scores = [], [], []
    for index, held_out in enumerate(peers):
        shadows = torch.stack([*peers[:index], *peers[index + 1 :]])
        found, expected = score(target, shadows), score(held_out, shadows)
        truth = np.repeat([1, 0], [len(found), len(expected)])
        areas.append(float(roc_auc_score(truth, torch.cat([found, expected]).cpu().numpy())))
        positive_scores.append(found)
        negative_scores.append(expected)
    positives, negatives = torch.cat(positive_scores), torch.cat(negative_scores)
    threshold = np.quantile(negatives.cpu().numpy(), 1 - _FALSE_POSITIVE_RATE)
    true_positive_rate = (positives > float(threshold)).double().mean().item()
    return {
        "auc": AuditFigure(sum(areas) / len(areas)),
        "tpr": AuditFigure(100 * true_positive_rate, 100 / len(target)),
        "excess": AuditFigure((positives.mean() - negatives.mean()).item()),
    }


@dataclass(config=CLOSED)
class LikelihoodRatio:
    """LiRA: is a network surer of a forgotten row's class than networks that never saw it?

    The statistic is log(p / (1 - p)) of the row's class. Over the shadow models it is taken as
    Gaussian, with a mean for each row and one variance for all rows, as the paper advises for few
    shadow models. The ranking does not depend on this variance.
    """

    needs_judge: ClassVar[bool] = False
    figure_names: ClassVar[Mapping[str, FigureName]] = {
        "auc": FigureName("LiRA AUC"),
        "tpr": FigureName("LiRA TPR", "%"),
        "excess": FigureName("LiRA excess", "nats"),
    }

    def __call__(self, audited: AuditedNetwork, peers: Sequence[AuditedNetwork]) -> AuditFigures:
        """Return `auc`, `tpr` and `excess` (nats of log-odds); see `attack_rows`."""
        labels = audited.context.select_rows("members").labels
        target, *others = [
            compute_log_odds(network.compute_logits("members"), labels)
            for network in (audited, *peers)
        ]
        return attack_rows(target, others, lambda found, shadows: found - shadows.mean(dim=0))


def compute_log_odds(logits: Tensor, labels: Tensor) -> Tensor:
    """Compute log(p / (1 - p)) of each row's class without rounding p to 0 or 1.

    Args:
        logits: (N, K).
        labels: Class of each row (N,).

    Returns:
        Log-odds (N,), float64, nats.
    """
    logits, own = logits.double(), labels[:, None]
    others = logits.scatter(1, own, -torch.inf).logsumexp(dim=1)
    return logits.gather(1, own).squeeze(1) - others


@dataclass(config=CLOSED)
class NeighbourMembership:
    """MIA-NN: do a network's answers to forgotten rows look like those of retrained networks?

    An answer is the probabilities of the retain classes, renormalised. A row's score is the
    Jensen-Shannon divergence of the answer from the shadow models' mean answer, in bits.
    """

    needs_judge: ClassVar[bool] = False
    figure_names: ClassVar[Mapping[str, FigureName]] = {
        "auc": FigureName("MIA-NN AUC"),
        "tpr": FigureName("MIA-NN TPR", "%"),
        "excess": FigureName("MIA-NN excess", "bits"),
    }

    def __call__(self, audited: AuditedNetwork, peers: Sequence[AuditedNetwork]) -> AuditFigures:
        """Return `auc`, `tpr` and `excess` (bits); see `attack_rows`."""
        retain = list(audited.context.request.retain)
        target, *others = [
            network.compute_logits("members")[:, retain].double().softmax(dim=1)
            for network in (audited, *peers)
        ]
        return attack_rows(
            target,
            others,
            lambda found, shadows: compute_jensen_shannon(found, shadows.mean(dim=0)),
        )
