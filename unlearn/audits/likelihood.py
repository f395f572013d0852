"""What the membership attacks share: retrained networks as shadow models, one held out in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from unlearn.audits.base import Figure, Findings

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
