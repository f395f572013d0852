"""The trained networks of a run: its teacher, retrained references, and the request for a method.

Trained networks are kept in a cache under the hash of what determines them: each is trained once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from unlearn.config.hashing import digest, drop_neutral
from unlearn.config.schema import RunConfig, TrainingConfig
from unlearn.data.tensors import Data, Split
from unlearn.errors import ConfigError, say
from unlearn.evaluation.accuracy import measure_accuracy
from unlearn.files import (
    digest_file,
    make_folder,
    remove_leftovers,
    replace_file,
    report_damage,
)
from unlearn.models.checkpoint import CheckpointFormat, load_into, own_format
from unlearn.models.copies import copy_network
from unlearn.models.network import attention_layers, network_arguments
from unlearn.models.zoo import load_teacher
from unlearn.protocol import Request
from unlearn.records.locks import hold
from unlearn.records.record import write_json
from unlearn.resume import Progress
from unlearn.roles import cached_as, derive_seed, list_roles, recorded_as, seed_offset
from unlearn.runner.build import Parts
from unlearn.runner.memory import explaining_memory
from unlearn.runner.published import locate_published
from unlearn.runner.session import Session
from unlearn.runner.teacher_check import check_teacher
from unlearn.tracking.base import Step
from unlearn.training.supervised import train


@dataclass(frozen=True)
class Networks:
    """The networks of a run, in eval mode.

    Args:
        teacher: The trained network that is to forget.
        trained: All networks that were trained for the run, by their roles.
        checkpoint_format: The file format in which the teacher was given.
    """

    teacher: nn.Module
    trained: dict[str, nn.Module]
    checkpoint_format: CheckpointFormat

    @property
    def retrained(self) -> nn.Module | None:
        """The network trained without the forget classes; None without data."""
        return self.trained.get("retrained")

    @property
    def references(self) -> tuple[nn.Module, ...]:
        """Further retrained networks, from other seeds."""
        return tuple(n for role, n in self.trained.items() if role.startswith("reference-"))

    @property
    def judge(self) -> nn.Module | None:
        """A network trained on all classes from another seed, if an audit needs one."""
        return self.trained.get("judge-1")


def prepare_networks(session: Session) -> Networks:
    """Load the user's teacher if there is one; train or load all other networks."""
    config, parts = session.config, session.parts
    checkpoint = config.model.checkpoint
    if checkpoint is None:
        trained = {role: train_network(session, role) for role in _list_trained(session)}
        return Networks(trained["teacher"], trained, own_format(trained["teacher"]))
    network = parts.new_network(0)
    checkpoint_format = load_teacher(network, config.model)
    if checkpoint_format.dropped:
        dropped = ", ".join(checkpoint_format.dropped)
        say(
            f"{checkpoint}: {dropped} dropped from the output: "
            "it may still contain information about the forget classes"
        )
    teacher = parts.hardware.place(network).eval()
    session.record["alarms"] += check_teacher(config, teacher, parts.data, parts.hardware)
    trained = {role: train_network(session, role) for role in _list_trained(session)}
    if trained:
        session.record["alarms"].append(
            "other training: how long the teacher was trained is not known; its retrained "
            f"references had {config.training.epochs} epochs"
        )
    return Networks(teacher, trained, checkpoint_format)


def make_request(config: RunConfig, parts: Parts, teacher: nn.Module) -> Request:
    """Return what the method is given: a frozen copy of the teacher, and what its inputs are."""
    lowest, highest = (
        (level - torch.tensor(config.dataset.mean)) / torch.tensor(config.dataset.std)
        for level in (0.0, 1.0)
    )
    seed, device = derive_seed(config.seed, "student"), parts.hardware.device
    new_network = parts.new_network  # the request must not lead to `parts`, which hold the data
    return Request(
        teacher=copy_network(teacher).requires_grad_(False).eval(),
        fresh=lambda: new_network(seed),
        forget=config.forget,
        num_classes=config.dataset.num_classes,
        shape=config.dataset.shape,
        lowest=lowest.view(-1, 1, 1).to(device),
        highest=highest.view(-1, 1, 1).to(device),
        attention=attention_layers(config.model, teacher, config.dataset.shape),
        filter=parts.filter,
        hardware=parts.hardware,
        seed=seed,
    )


def _list_trained(session: Session) -> list[str]:
    """Return the roles of the networks to train: none without data, and none that is given."""
    if session.parts.data is None:
        return []
    spared = set() if session.config.model.checkpoint is None else {"teacher"}
    if not any(audit.needs_judge for audit in session.parts.audits.values()):
        spared.add("judge-1")
    return [r for r in list_roles(session.config.evaluation.references) if r not in spared]


def train_network(session: Session, role: str) -> nn.Module:
    """Return the network of a role, from the cache or newly trained, and record its seconds."""
    config, parts = session.config, session.parts
    assert parts.data is not None
    training = config.training
    training = training.model_copy(update={"seed": training.seed + seed_offset(role)})
    network = parts.hardware.place(parts.new_network(derive_seed(training.seed, cached_as(role))))
    classes = _classes(config, role)
    determinants = _determinants(session, training, parts.data, classes)
    rows = select_rows(parts.data, training.seed, role, classes)

    def fit(folder: Path) -> None:
        file = session.open_resume_file(folder, network)
        progress = Progress((file.load() or {}).get("stages", {}))
        with explaining_memory(config, "training", network, parts.hardware):
            for epoch, loss in train(network, rows, training, parts.hardware, progress):
                session.notify(Step(role, epoch, training.epochs, {"loss": loss}))
                file.keep(progress)
        file.remove()

    def measure() -> dict[str, Any]:
        assert parts.data is not None
        return measure_accuracy(network, parts.data.test, config.forget, parts.hardware)

    folder = Path(config.outputs).absolute() / "cache"
    published = locate_published(config.networks, cached_as(role), determinants)
    try:
        if published is not None:
            seconds = _load_published(session, role, published, network)
        else:
            seconds = train_once(folder, cached_as(role), determinants, network, fit, measure)
    except PermissionError as error:
        reason = f"{error.filename or folder} cannot be written ({error.strerror})"
        raise ConfigError("outputs", config.outputs, reason) from error
    session.keep_told(role)
    spent, entry = session.record["seconds"], recorded_as(role)
    spent[entry] = (spent[entry] or 0) + seconds
    return network


def _load_published(session: Session, role: str, place: Path, network: nn.Module) -> float:
    """Load a published network, and name its weights in the record."""
    weights = place / f"model{own_format(network).suffix}"
    fault = _find_fault(weights)
    if fault is not None:
        file, reason = fault
        raise ConfigError("networks", session.config.networks, f"{file} is damaged: {reason}")
    session.record.setdefault("published", {})[role] = digest_file(weights)
    return _load(weights, network)


def _classes(config: RunConfig, role: str) -> tuple[int, ...]:
    """Return the classes that the network of a role is trained on."""
    every = tuple(range(config.dataset.num_classes))
    return every if cached_as(role) == "teacher" else config.retain


def select_rows(data: Data, seed: int, role: str, classes: tuple[int, ...]) -> Split:
    """Return the training rows of a role; a further network's are drawn by its own seed."""
    rows = data.train_drawn_by(seed) if seed_offset(role) else data.train
    return rows.only(classes)


def _determinants(
    session: Session, training: TrainingConfig, data: Data, classes: tuple[int, ...]
) -> dict[str, Any]:
    """Return everything that decides a trained network's weights, as plain values."""
    config = session.config
    plain = config.plain()
    passed = network_arguments(config.model)  # a key that the network takes decides its weights
    ignored = [key for key in ("check", "checkpoint", "attention") if key not in passed]
    return {
        "data": data.fingerprint,
        "validation": config.dataset.validation,
        "model": {k: v for k, v in plain["model"].items() if k not in ignored},
        "training": drop_neutral(plain["training"]) | {"seed": training.seed},
        "hardware": session.parts.hardware.describe_arithmetic(),
        "classes": list(classes),
    }


def train_once(
    folder: Path,
    role: str,
    determinants: dict[str, Any],
    network: nn.Module,
    fit: Callable[[Path], None],
    measure: Callable[[], dict[str, Any]],
) -> float:
    """Load a network's weights from the cache, or train it and put it there.

    Parallel callers wait for the first. What is damaged in the cache is made again.

    Args:
        folder: The cache.
        role: `teacher` or `retrained`.
        determinants: Everything that decides the weights, as plain values.
        network: Freshly initialised, on the device; filled in place and left in eval mode.
        fit: Trains the network in place; it may keep its state in the folder that it is given.
        measure: Measures the trained network; the figures are kept beside it for the reader.

    Returns:
        The seconds that training took, whenever that was.
    """
    place = folder / f"{role}-{digest(determinants)}"
    checkpoint_format = own_format(network)
    weights = place / f"model{checkpoint_format.suffix}"
    if _find_fault(weights) is None:  # to load it needs no lock, and no right to write
        return _load(weights, network)
    make_folder(place)
    with hold(place / ".lock", place):
        remove_leftovers(place, locked=True)
        fault = _find_fault(weights)
        if fault is None:
            return _load(weights, network)
        if _note(weights).exists():
            report_damage(*fault, "the network is trained again")
        start = time.perf_counter()
        fit(place)
        seconds = time.perf_counter() - start
        replace_file(weights, partial(checkpoint_format.save, network))
        about = {"seconds": seconds, "sha256": digest_file(weights), "config": determinants}
        write_json(_note(weights), about | {"accuracy": measure()})
        return _load(weights, network)


def _note(weights: Path) -> Path:
    """Return the file beside a cached network's weights that vouches for them."""
    return weights.with_name("model.json")


def _load(weights: Path, network: nn.Module) -> float:
    """Load a cached network's weights; return the seconds that its training took."""
    load_into(network, str(weights))
    network.eval()
    return float(json.loads(_note(weights).read_text())["seconds"])


def _find_fault(weights: Path) -> tuple[Path, str] | None:
    """Return which file of a cached network is damaged or absent, and how; None if none is."""
    try:
        about = json.loads(_note(weights).read_text())
        float(about["seconds"])
        wanted = about["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return _note(weights), f"not whole: {type(error).__name__} {error}"
    try:
        found = digest_file(weights)
    except OSError as error:
        return weights, error.strerror or type(error).__name__
    return None if found == wanted else (weights, "its SHA-256 is not the one in model.json")
