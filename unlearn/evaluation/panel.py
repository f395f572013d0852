"""All audits of a run, over all its networks."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from torch import nn

from unlearn.errors import RunError
from unlearn.evaluation.audit import Audit, AuditContext, AuditedNetwork, AuditFigure, AuditFigures
from unlearn.evaluation.base import Models
from unlearn.models.copies import copy_network
from unlearn.statistics import check_left_out, lies_inside, predict_interval
from unlearn.training.student import mask_logits

_MASKED_LOGIT = -20.0  # of the network that every audit but accuracy should recognise
_NAMES = ("original", "retrained", "masked", "unlearned")
_MIN_REFERENCES = 2  # for a prediction interval


def run_audits(
    audits: Mapping[str, Audit], models: Models, context: AuditContext
) -> dict[str, Any]:
    """Audit every network of a run.

    The peers of a retrained network are the other retrained networks. The peers of any other
    network are the references, so that it takes the place of the run's own retrained network. If
    an unlearned network is as good as retrained, its numbers are one more draw from the same
    distribution.

    Args:
        audits: Audits by name.
        models: Networks of the run; `retrained` must be there.
        context: What they are audited on.

    Returns:
        Keys of the record. `audits`: for each number, as `AUDIT/NUMBER`, the value of each
        network; `low` and `high`, the interval of one more retrained network; `inside`, whether
        the unlearned network is in it; `left_out`, whether each retrained network is inside the
        interval of the others. The last four are None with fewer than two references.
        `audit_curves`: lists of numbers by network. `audits_inside`: share of numbers inside,
        averaged over audits. `seconds.audits`: time of each audit.
    """
    assert models.retrained is not None
    retrained = [AuditedNetwork(one, context) for one in (models.retrained, *models.references)]
    unlearned = AuditedNetwork(models.unlearned, context)
    others = {
        "original": AuditedNetwork(models.original, context),
        "masked": _mask(models.original, context),
    }
    entries, curves, shares, seconds = dict[str, Any](), dict[str, Any](), [], dict[str, float]()
    for name, audit in audits.items():
        start = time.perf_counter()
        found = {
            key: _audit_shared(audit, other, retrained[1:])
            for key, other in others.items()
            if other
        }
        found["unlearned"] = audit(unlearned, retrained[1:])
        found["retrained"], *references = [
            _audit_shared(audit, one, retrained[:index] + retrained[index + 1 :])
            for index, one in enumerate(retrained)
        ]
        insides = []
        for number, figure in found["retrained"].items():
            if isinstance(figure, list):
                curves[f"{name}/{number}"] = _list_values(number, found, references)
            else:
                entry = _make_entry(number, figure.resolution, found, references)
                entries[f"{name}/{number}"] = entry
                insides.append(entry["inside"])
        if insides and None not in insides:
            shares.append(sum(insides) / len(insides))
        seconds[name] = time.perf_counter() - start
    return {
        "audits": entries,
        "audit_curves": curves,
        "audits_inside": sum(shares) / len(shares) if shares else None,
        "seconds": {"audits": seconds},
    }


def _audit_shared(
    audit: Audit, audited: AuditedNetwork, peers: Sequence[AuditedNetwork]
) -> AuditFigures:
    """Audit a network that other runs share, or read from the cache what they found."""
    context = audited.context
    judge = [context.judge] if audit.needs_judge and context.judge is not None else []
    networks = [audited.network, *(peer.network for peer in peers), *judge]

    def measure() -> dict[str, Any]:
        return {
            name: asdict(figure) if isinstance(figure, AuditFigure) else figure
            for name, figure in audit(audited, peers).items()
        }

    found = context.measurements.get_or_measure([audit, context.max_rows], networks, measure)
    return {
        name: AuditFigure(**figure) if isinstance(figure, dict) else figure
        for name, figure in found.items()
    }


def _mask(original: nn.Module, context: AuditContext) -> AuditedNetwork | None:
    """The original with the forget classes' logits held down; None if its last layer has none."""
    request = context.request
    network = copy_network(original).eval()
    try:
        mask_logits(network, request.forget, request.num_classes, _MASKED_LOGIT)
    except RunError:
        return None
    return AuditedNetwork(network, context)


def _list_values(
    number: str, found: Mapping[str, AuditFigures], references: Sequence[AuditFigures]
) -> dict[str, Any]:
    """The value of one number or curve in each network, None where an audit did not find it."""

    def get_value(figures: AuditFigures) -> Any:
        figure = figures.get(number)
        return figure.value if isinstance(figure, AuditFigure) else figure

    values = {name: get_value(found.get(name, {})) for name in _NAMES}
    return values | {"references": [get_value(figures) for figures in references]}


def _make_entry(
    number: str,
    resolution: float,
    found: Mapping[str, AuditFigures],
    references: Sequence[AuditFigures],
) -> dict[str, Any]:
    """The record's entry of a number: its values, and the interval of the retrained networks."""
    entry = _list_values(number, found, references)
    entry |= dict.fromkeys(("low", "high", "inside", "left_out"))
    if len(references) < _MIN_REFERENCES:
        return entry
    retrained = [entry["retrained"], *entry["references"]]
    low, high = predict_interval(retrained, resolution)
    inside = lies_inside(entry["unlearned"], low, high)
    left_out = check_left_out(retrained, resolution)
    return entry | {"low": low, "high": high, "inside": inside, "left_out": left_out}
