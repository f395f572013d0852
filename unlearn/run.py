"""One run, top to bottom: config, data and teacher, method, evaluation, record."""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import nn

from unlearn import record as records
from unlearn.build import Parts, build
from unlearn.cache import Trained, trained_once
from unlearn.config import RunConfig, config_hash
from unlearn.evaluation.base import Models, Setting, accuracy
from unlearn.methods.base import Observed, Samples, State
from unlearn.models.checkpoint import CheckpointFormat, load_into
from unlearn.models.network import attention_layers
from unlearn.request import Request
from unlearn.tracking.base import Observer, Step
from unlearn.tracking.history import History
from unlearn.training import train


def run(config: RunConfig) -> tuple[dict[str, Any], Path]:
    """Do one run, or find it done.

    Returns:
        The record and the directory that holds it.

    Raises:
        UnlearnError: with one line on what went wrong; a run that had begun leaves a record
            with status `failed`.
    """
    records.check_objective(config)
    identity = config_hash(config, _file_digest(config.model.checkpoint))
    directory = records.directory_of(config, identity)
    with records.claimed(config, directory):
        done = records.finished(config, directory, identity)
        if done is not None:
            return done, directory
        parts = build(config)
        record = records.blank(config, identity)
        with records.writing(directory) as work:
            failure = _attempt(config, parts, record, work)
    if failure is not None:
        raise failure
    return record, directory


def _attempt(
    config: RunConfig, parts: Parts, record: dict[str, Any], work: Path
) -> Exception | None:
    """Fill `record` and the folder `work`; return what went wrong, if anything did."""
    observers = [*parts.observers, history := History()]
    failure: Exception | None = None
    try:
        for observer in observers:
            observer.start(config, work, record["config_hash"])
        OmegaConf.save(OmegaConf.create(config.plain()), work / "config.yaml")
        _Run(config, parts, observers, history, record, work).all()
        record["status"] = "complete"
    except Exception as error:
        failure = _failed(record, error, config)
    for observer in observers:
        try:
            observer.finish(record, work)
        except Exception as error:
            failure = failure or _failed(record, error, config)
    try:
        records.write_json(work / records.RECORD, record)
    except OSError as error:
        failure = failure or _failed(record, error, config)
    return failure


def _failed(record: dict[str, Any], error: Exception, config: RunConfig) -> Exception:
    failure = records.explained(error, config.outputs)
    record.update(status="failed", error=f"{type(error).__name__}: {failure}")
    return failure


@dataclass
class _Run:
    """The stages of a run, in order; each adds its figures to the record."""

    config: RunConfig
    parts: Parts
    observers: list[Observer]
    history: History
    record: dict[str, Any]
    work: Path

    def all(self) -> None:
        teacher, layout = self.teacher()
        retrained = self.retrained()
        request = self.request(teacher)
        student, samples = self.unlearn(request)
        layout.save(student, self.work / f"student{layout.suffix}")
        self.evaluate(Models(teacher, retrained, student), request, samples)

    def teacher(self) -> tuple[nn.Module, CheckpointFormat]:
        """The user's checkpoint, or a network trained on all classes."""
        if self.config.model.checkpoint is not None:
            network = self.parts.new_network(0)
            layout = load_into(network, self.config.model.checkpoint)
            return self.parts.hardware.place(network).eval(), layout
        trained = self._trained("teacher", tuple(range(self.config.dataset.num_classes)))
        self.record["seconds"]["teacher"] = trained.seconds
        return trained.network, CheckpointFormat()

    def retrained(self) -> nn.Module | None:
        """The reference: the same network trained on the retain classes alone."""
        if self.parts.data is None:
            return None
        trained = self._trained("retrained", self.config.retain)
        self.record["seconds"]["retrained"] = trained.seconds
        return trained.network

    def _trained(self, role: str, classes: tuple[int, ...]) -> Trained:
        config, data, hardware = self.config, self.parts.data, self.parts.hardware
        assert data is not None
        settings = config.training
        rows = data.train.only(classes)
        plain = config.plain()
        determinants = {
            "data": data.fingerprint,
            "validation": config.dataset.validation,
            "model": {
                k: v for k, v in plain["model"].items() if k not in ("checkpoint", "attention")
            },
            "training": plain["training"],
            "hardware": [config.hardware.autocast, hardware.device.type],
            "classes": list(classes),
        }

        def fit(network: nn.Module) -> None:
            for epoch, loss in train(network, rows, settings, hardware):
                self._tell(Step(role, epoch, settings.epochs, {"loss": loss}))

        return trained_once(
            Path(config.outputs).absolute() / "cache",
            role,
            determinants,
            hardware.place(self.parts.new_network(derived(settings.seed, role))),
            fit,
            lambda network: accuracy(network, data.test, config.forget, hardware),
        )

    def request(self, teacher: nn.Module) -> Request:
        """What the method is given: a frozen copy of the teacher, and what its inputs are."""
        config, hardware = self.config, self.parts.hardware
        lowest, highest = (
            (level - torch.tensor(config.dataset.mean)) / torch.tensor(config.dataset.std)
            for level in (0.0, 1.0)
        )
        seed, new_network = derived(config.seed, "student"), self.parts.new_network
        return Request(
            teacher=copy.deepcopy(teacher).requires_grad_(False).eval(),
            fresh=lambda: new_network(seed),
            forget=config.forget,
            num_classes=config.dataset.num_classes,
            shape=config.dataset.shape,
            lowest=lowest.view(-1, 1, 1).to(hardware.device),
            highest=highest.view(-1, 1, 1).to(hardware.device),
            attention=attention_layers(config.model, teacher),
            filter=self.parts.filter,
            hardware=hardware,
            seed=seed,
        )

    def unlearn(self, request: Request) -> tuple[nn.Module, Samples | None]:
        """Step the method with all data sealed that it may not see; look at the student between."""
        method, data, every = self.parts.method, self.parts.data, self.config.evaluation.every
        self.record["access"] = method.access
        view = data.view(method.access, self.config.forget) if data is not None else None
        student, samples, spent = None, None, 0.0
        with _seeded(request.seed):
            steps = method.unlearn(request, view)
            observed: Observed | None = None
            while True:
                start = time.perf_counter()
                with data.sealed() if data is not None else nullcontext():
                    state = _advance(steps, observed)
                spent += time.perf_counter() - start
                if state is None:
                    break
                samples = state.samples or samples
                student = state.student if state.student is not None else student
                seen = self._look(state, every)
                observed = Observed(**seen) if seen and method.access == "oracle" else None
                self._tell(Step(state.stage, state.step, state.total, state.scalars, seen))
        self.record["seconds"]["unlearn"] = spent
        assert student is not None
        return student.eval(), samples

    def _look(self, state: State, every: int | None) -> dict[str, Any]:
        """Test accuracy of the current student, at every `every`-th step and the last."""
        data = self.parts.data
        due = every is not None and (state.step % every == 0 or state.step == state.total)
        if data is None or state.student is None or not due:
            return {}
        modes = {module: module.training for module in state.student.modules()}
        state.student.eval()
        seen = accuracy(state.student, data.test, self.config.forget, self.parts.hardware)
        for module, training in modes.items():
            module.training = training
        return seen

    def evaluate(self, models: Models, request: Request, samples: Samples | None) -> None:
        """Run every metric on networks that it cannot change for the next one."""
        start = time.perf_counter()
        dataset = self.config.dataset
        names = dataset.classes or tuple(str(c) for c in range(dataset.num_classes))
        setting = Setting(
            request, self.parts.data, self.history.frame(), samples, names, self.work / "figures"
        )
        for name, metric in self.parts.metrics.items():
            if metric.needs_data and self.parts.data is None:
                continue
            records.merge(self.record, {name: metric(models, setting)})
        self.record["seconds"]["evaluation"] = time.perf_counter() - start

    def _tell(self, step: Step) -> None:
        for observer in self.observers:
            observer.step(step)


def derived(seed: int, role: str) -> int:
    """A seed of its own for each role, so that no two networks start alike."""
    return int.from_bytes(hashlib.sha256(f"{role} {seed}".encode()).digest()[:4], "big") // 2


def _advance(steps: Any, observed: Observed | None) -> State | None:
    try:
        state: State = steps.send(observed)
    except StopIteration:
        return None
    return state


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def _file_digest(path: str | None) -> str | None:
    if path is None:
        return None
    file = Path(path).expanduser()
    if not file.is_file():
        return path  # the missing file is reported when it is read
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]
