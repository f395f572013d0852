"""All audits of one run: of its networks, of those that must fail, and of retrained ones."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from torch import nn

from unlearn.errors import RunError
from unlearn.evaluation.audit import Audit, AuditContext, Figure, Findings, Subject
from unlearn.evaluation.base import Models
from unlearn.statistics import left_out, lies_inside, prediction_interval
from unlearn.training.student import hold_down

_BIAS = -20.0  # the held-down logit of the network that any audit but D_f's should unmask
_NAMES = ("original", "retrained", "masked", "unlearned")
_FEWEST = 2  # references, for a spread


def run_audits(audits: Mapping[str, Audit], models: Models, bench: AuditContext) -> dict[str, Any]:
    """Audit every network of a run; what is found is laid over its record.

    Retrained networks are audited with the others of them as peers. Each network that is not
    one takes the place of the run's own: its peers are the references. So an unlearned network
    that were as good as retrained would be one more draw from the same distribution.

    Returns:
        `audits`: for each number, under `audit/number`, the networks' values, the interval of
        one more retrained network (`low`, `high`), whether the unlearned one is `inside`, and
        whether each retrained one, `left_out`, is inside the interval of the others; null with
        fewer than two references. `audit_curves`: lists of numbers by network. `audits_inside`:
        the share of numbers inside, averaged over audits. `seconds.audits`: of each audit, short
        of what was known already.
    """
    assert models.retrained is not None
    retrained = [Subject(network, bench) for network in (models.retrained, *models.references)]
    unlearned = Subject(models.unlearned, bench)
    others = {
        "original": Subject(models.original, bench),
        "masked": _masked(models.original, bench),
    }
    entries, curves, shares, seconds = dict[str, Any](), dict[str, Any](), [], dict[str, float]()
    for name, audit in audits.items():
        start = time.perf_counter()
        found = {key: _known(audit, other, retrained[1:]) for key, other in others.items() if other}
        found["unlearned"] = audit(unlearned, retrained[1:])
        found["retrained"], *references = [
            _known(audit, one, retrained[:index] + retrained[index + 1 :])
            for index, one in enumerate(retrained)
        ]
        insides = []
        for number, finding in found["retrained"].items():
            if isinstance(finding, list):
                curves[f"{name}/{number}"] = _by_network(number, found, references)
            else:
                entry = _entry(number, found, references)
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


def _known(audit: Audit, subject: Subject, peers: Sequence[Subject]) -> Findings:
    """What an audit finds in networks that other runs share, or found for one of those."""
    bench = subject.bench
    judge = [bench.judge] if audit.needs_judge and bench.judge is not None else []
    networks = [subject.network, *(peer.network for peer in peers), *judge]

    def plain() -> dict[str, Any]:
        return {
            name: asdict(finding) if isinstance(finding, Figure) else finding
            for name, finding in audit(subject, peers).items()
        }

    return {
        name: Figure(**finding) if isinstance(finding, dict) else finding
        for name, finding in bench.shelf.kept([audit, bench.most], networks, plain).items()
    }


def _masked(original: nn.Module, bench: AuditContext) -> Subject | None:
    """The original with the forget classes' logits held down, where it has a layer for that."""
    request = bench.request
    network = copy.deepcopy(original).eval()
    try:
        hold_down(network, request.forget, request.num_classes, _BIAS)
    except RunError:
        return None
    return Subject(network, bench)


def _by_network(
    number: str, found: Mapping[str, Findings], references: Sequence[Findings]
) -> dict[str, Any]:
    """What an audit found under one name, as plain values: by network, None where there is none."""

    def plain(findings: Findings) -> Any:
        finding = findings.get(number)
        return finding.value if isinstance(finding, Figure) else finding

    values = {name: plain(found.get(name, {})) for name in _NAMES}
    return values | {"references": [plain(findings) for findings in references]}


def _entry(
    number: str, found: Mapping[str, Findings], references: Sequence[Findings]
) -> dict[str, Any]:
    """A number of all networks, and the interval of the retrained ones."""
    entry = _by_network(number, found, references)
    entry |= dict.fromkeys(("low", "high", "inside", "left_out"))
    if len(references) < _FEWEST:
        return entry
    retrained = [entry["retrained"], *entry["references"]]
    figure = found["retrained"][number]
    assert isinstance(figure, Figure)
    low, high = prediction_interval(retrained, figure.resolution)
    inside = lies_inside(entry["unlearned"], low, high)
    leaving = left_out(retrained, figure.resolution)
    return entry | {"low": low, "high": high, "inside": inside, "left_out": leaving}
