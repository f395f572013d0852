"""One run, from config to record: prepare the networks, unlearn, evaluate, record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unlearn.config.schema import RunConfig
from unlearn.evaluation.monitor import StudentMonitor
from unlearn.records.existing import find_finished
from unlearn.records.folder import fill_directory, lock_run
from unlearn.records.places import locate_run
from unlearn.records.record import check_metric_names, check_objective
from unlearn.records.template import new_record
from unlearn.runner.build import build
from unlearn.runner.evaluate import evaluate, write_evidence
from unlearn.runner.method import run_method
from unlearn.runner.networks import make_request, prepare_networks
from unlearn.runner.session import Session


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Args:
        record: The run's record, as written to `record.json`.
        directory: The run directory.
        done_before: Whether the record was found complete, so that nothing was run.
    """

    record: dict[str, Any]
    directory: Path
    done_before: bool = False


def run(config: RunConfig, command: Sequence[str] | None = None) -> Outcome:
    """Do one run, or find it done.

    Args:
        config: The run.
        command: The words after `unlearn` that ask for this run, for its record.

    Raises:
        UnlearnError: With one line on what went wrong. A run that had begun leaves a record with
            status `failed`.
    """
    check_metric_names(config)
    check_objective(config)
    identity, directory = locate_run(config)
    done = find_finished(config, directory, identity)
    if done is not None:  # found without a lock, so on a disk that cannot be written too
        return Outcome(done, directory, done_before=True)
    with lock_run(config, directory):
        done = find_finished(config, directory, identity)
        if done is not None:
            return Outcome(done, directory, done_before=True)
        parts = build(config)
        record = new_record(config, identity, command)
        record["hardware"] = parts.hardware.describe()
        with fill_directory(directory, record, config.force) as folder:
            session = Session(config, parts, record, folder)
            with session.recording():
                networks = prepare_networks(session)
                request = make_request(config, parts, networks.teacher)
                monitor = StudentMonitor(
                    request, parts.data, parts.metrics, config.evaluation.every
                )
                result = run_method(session, request, monitor)
                evaluate(session, networks, request, monitor, result)
                write_evidence(session, networks)
    if session.errors:
        raise session.errors[0]
    return Outcome(record, directory)
