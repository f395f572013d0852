"""Membership inference: can the forgotten training images be told from unseen ones?"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import nn

from unlearn.config import CLOSED
from unlearn.data.tensors import Split
from unlearn.evaluation.base import Figures, Models, Setting, each_model, logits_of, mean_of
from unlearn.filters.entropy import entropy


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

    def __call__(self, models: Models, setting: Setting) -> Figures:
        """Attack all models; see `Metric`."""
        found = each_model(
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

    def _auc(self, network: nn.Module, setting: Setting) -> float:
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
        setting: Setting,
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        random = torch.Generator().manual_seed(setting.request.seed)
        splits = [members.only(classes), others.only(classes)]
        count = min(self.most, *(len(split) for split in splits))
        features = []
        for split in splits:
            rows = torch.randperm(len(split), generator=random)[:count].to(split.labels.device)
            chosen = Split(split.images[rows], split.labels[rows])
            features.append(entropy(logits_of(network, chosen, setting.request.hardware)))
        values = torch.cat(features).double().cpu().numpy()[:, None]
        return values, np.repeat(np.array([1, 0]), count)
