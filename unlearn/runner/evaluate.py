"""Measures the networks of a run, and saves the student."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from unlearn.evaluation.alarms import find_alarms
from unlearn.evaluation.audit import AuditContext
from unlearn.evaluation.base import MetricContext, Models, StudentMetric, name_figures
from unlearn.evaluation.monitor import StudentMonitor
from unlearn.evaluation.panel import run_audits
from unlearn.protocol import Request
from unlearn.records.card import digest_file, make_card, write_card
from unlearn.records.record import merge
from unlearn.runner.method import Result
from unlearn.runner.networks import Networks
from unlearn.runner.session import Session


def evaluate(
    session: Session,
    networks: Networks,
    request: Request,
    monitor: StudentMonitor,
    result: Result,
) -> None:
    """Save the student, then run every metric and audit; one that fails stops no other."""
    student, record = result.student, session.record
    format_ = networks.checkpoint_format
    format_.save(student, session.folder / f"student{format_.suffix}")
    record["figures"] = name_figures(session.parts.metrics, session.parts.audits)
    start = time.perf_counter()
    models = Models(networks.teacher, networks.retrained, student, networks.references)
    context = _make_context(session, request, result)
    for name, metric in session.parts.metrics.items():
        if isinstance(metric, StudentMetric) or (metric.needs_data and context.data is None):
            continue
        if getattr(metric, "draws", False) and not session.may_keep_images:
            continue
        with session.catching():
            merge(record, {name: metric(models, context)})
    with session.catching():
        merge(record, monitor.measure(student))
    with session.catching():
        _run_audits(session, networks, request, models)
    record["alarms"] += find_alarms(record["accuracy"], context.history)
    record["seconds"]["evaluation"] = monitor.seconds + time.perf_counter() - start


def write_evidence(session: Session, networks: Networks) -> None:
    """Write the card of the run: what was asked, done and measured."""
    weights_in = _describe_teacher(session.config.model.checkpoint, networks.teacher)
    student = session.folder / f"student{networks.checkpoint_format.suffix}"
    weights_out = {"file": student.name, "sha256": digest_file(student)}
    write_card(session.folder, make_card(session.record, weights_in, weights_out))


def _describe_teacher(checkpoint: str | None, teacher: nn.Module) -> dict[str, str]:
    """Return the teacher's file and the SHA-256 of its weights, for the card."""
    if checkpoint is not None:
        path = Path(checkpoint).expanduser().absolute()
        return {"file": str(path), "sha256": digest_file(path)}
    tensors = {k: v for k, v in teacher.state_dict().items() if isinstance(v, Tensor)}
    state = {k: v.cpu().clone(memory_format=torch.contiguous_format) for k, v in tensors.items()}
    return {"file": "(trained by this run)", "sha256": hashlib.sha256(save(state)).hexdigest()}


def _make_context(session: Session, request: Request, result: Result) -> MetricContext:
    return MetricContext(
        request,
        session.parts.data,
        session.history.frame(),
        result.samples,
        session.config.dataset.class_names,
        session.folder / "figures",
        session.parts.measurements,
    )


def _run_audits(session: Session, networks: Networks, request: Request, models: Models) -> None:
    """Compare the student with retrained networks, if the config asks for it and there is data."""
    data, audits = session.parts.data, session.parts.audits
    if data is None or not audits:
        return
    most = session.config.evaluation.audit_rows
    context = AuditContext(request, data, networks.judge, most, session.parts.measurements)
    merge(session.record, run_audits(audits, models, context))
