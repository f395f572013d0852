"""`unlearn-verify`: checks the evidence in a run folder, and measures its figures again."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from omegaconf import OmegaConf

from unlearn.config.resolve import check_values
from unlearn.errors import RunError, exit_on_error
from unlearn.evaluation.monitor import StudentMonitor
from unlearn.models.checkpoint import load_into
from unlearn.records.card import CARD, digest_file
from unlearn.records.record import read_record
from unlearn.records.template import new_record
from unlearn.runner.build import build
from unlearn.runner.evaluate import evaluate
from unlearn.runner.method import Result
from unlearn.runner.networks import make_request, prepare_networks
from unlearn.runner.session import Session

# Parts of a record that depend on nothing but the networks and the data.
_REPEATABLE = ("accuracy", "divergence", "membership", "probe", "relearn", "proxy")
_TOLERANCE = 1e-4  # relative: other machines add in another order


def verify(folder: Path) -> list[str]:
    """Return what differs from the evidence in a run folder, a line each.

    Raises:
        RunError: If the folder holds no evidence.
    """
    try:
        card = json.loads((folder / CARD).read_text())
        record = read_record(folder)
    except (OSError, ValueError) as error:
        raise RunError(f"{folder}: holds no readable {CARD} ({error})") from error
    if record is None:
        raise RunError(f"{folder}: holds no readable record.json")
    weights = folder / card["weights_out"]["file"]
    measured = measure_again(folder, weights)
    return [*_compare_hashes(folder, card), *_compare_figures(record, measured)]


def measure_again(folder: Path, weights: Path) -> dict[str, Any]:
    """Return a record with the figures of a run folder's student, measured now.

    Args:
        folder: The run folder.
        weights: The file of the student's weights.
    """
    values = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))
    assert isinstance(values, dict)
    config = check_values({str(key): value for key, value in values.items()})
    parts = build(config)
    parts.observers.clear()
    record = new_record(config, "")
    with TemporaryDirectory() as scratch:
        session = Session(config, parts, record, Path(scratch))
        networks = prepare_networks(session)
        request = make_request(config, parts, networks.teacher)
        monitor = StudentMonitor(request, parts.data, parts.metrics, config.evaluation.every)
        student = parts.new_network(0)
        load_into(student, str(weights))
        student = parts.hardware.place(student).eval()
        evaluate(session, networks, request, monitor, Result(student, None))
    return record


def _compare_hashes(folder: Path, card: Mapping[str, Any]) -> Iterator[str]:
    given = Path(card["weights_in"]["file"])
    if given.exists():  # the user's checkpoint, if it is still there
        yield from _compare_hash(given, card["weights_in"]["sha256"])
    yield from _compare_hash(folder / card["weights_out"]["file"], card["weights_out"]["sha256"])


def _compare_hash(path: Path, expected: str) -> Iterator[str]:
    if not path.exists():
        yield f"{path}: is not there"
    elif digest_file(path) != expected:
        yield f"{path}: its SHA-256 is not the one on the card"


def _compare_figures(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name in _REPEATABLE:
        yield from _compare_values(name, then.get(name), now.get(name))


def _compare_values(path: str, then: Any, now: Any) -> Iterator[str]:
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for key in then:
            yield from _compare_values(f"{path}.{key}", then[key], now.get(key))
    elif isinstance(then, int | float) and isinstance(now, int | float):
        if not math.isclose(then, now, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE):
            yield f"{path}: was {then:.6g}, is {now:.6g}"
    elif isinstance(then, int | float):
        yield f"{path}: was {then:.6g}, cannot be measured now"


def main() -> None:
    """Run the command line; exit 1 if anything differs."""
    parser = argparse.ArgumentParser(
        prog="unlearn-verify",
        description="Check the hashes in a run folder and measure its figures again.",
    )
    parser.add_argument("folder", type=Path, help="a run folder that holds model_card.json")
    with exit_on_error("unlearn-verify"):
        folder = parser.parse_args().folder
        differences = verify(folder)
        for line in differences:
            print(line)
        if differences:
            sys.exit(1)
        print(f"{folder}: hashes and figures are those of the card")


if __name__ == "__main__":
    main()
