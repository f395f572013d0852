"""One run on its way: its data and networks, what the method is given, its figures, its record."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import nn

from unlearn.config.schema import RunConfig, TrainingConfig
from unlearn.data.tensors import Split
from unlearn.evaluation.alarms import alarms
from unlearn.evaluation.audit import AuditContext
from unlearn.evaluation.base import Metric, MetricContext, Models, StudentMetric, measure_accuracy
from unlearn.evaluation.monitor import StudentMonitor
from unlearn.evaluation.panel import run_audits
from unlearn.models.checkpoint import CheckpointFormat, load_into
from unlearn.models.network import attention_layers
from unlearn.protocol import Observed, Request, Samples, State
from unlearn.records.record import RECORD, explained, merge, write_json
from unlearn.resume import ResumeFile
from unlearn.roles import cached_as, derive_seed, recorded_as, seed_offset, trained
from unlearn.runner.build import Parts
from unlearn.runner.networks import TrainingRequest
from unlearn.runner.usage import Usage
from unlearn.tracking.base import Observer, Step
from unlearn.tracking.history import History


@dataclass(frozen=True)
class Outcome:
    """A run's record and directory; why it failed if it did, or whether it was done before."""

    record: dict[str, Any]
    directory: Path
    failure: Exception | None = None
    done_before: bool = False


@dataclass
class Job:
    """One run on its way: its stages add their figures to the record."""

    index: int
    config: RunConfig
    parts: Parts
    record: dict[str, Any]
    work: Path
    directory: Path
    claim: ExitStack
    history: History = field(default_factory=History)
    failure: Exception | None = None
    networks: dict[str, nn.Module] = field(default_factory=dict)
    layout: CheckpointFormat = field(default_factory=CheckpointFormat)
    request: Request = field(init=False)
    student: nn.Module | None = None
    samples: Samples | None = None
    watching: StudentMonitor = field(init=False)
    account: Usage = field(init=False)
    began: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        self._resume = self.resume_file(self.work)

    @property
    def stacks(self) -> bool:
        """Whether this is to be run stacked with others."""
        return self.parts.hardware.stacks

    @property
    def observers(self) -> list[Observer]:
        """Who listens, the history last."""
        return [*self.parts.observers, self.history]

    def attempt(self, stage: Callable[[], None], *, even_so: bool = False) -> None:
        """Do a stage, unless one failed before or `even_so`; keep what goes wrong."""
        if self.failure is not None and not even_so:
            return
        try:
            stage()
        except Exception as error:
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """Put what went wrong on record."""
        self.failure = self.failure or explained(error, self.config.outputs)
        error_line = f"{type(error).__name__}: {self.failure}"
        self.record.update(status="failed", error=self.record["error"] or error_line)

    def start(self) -> None:
        """Open the observers."""
        for observer in self.observers:
            observer.start(self.config, self.work, self.record["config_hash"])
        OmegaConf.save(OmegaConf.create(self.config.plain()), self.work / "config.yaml")

    def resume_file(self, folder: Path) -> ResumeFile:
        """The file in which a loop of this run keeps what it has reached."""
        every, versions = self.config.checkpoint_every, self.record["versions"]
        return ResumeFile(folder / "resume.pt", every, versions)

    def take_up(self) -> float:
        """Go on where the run was cut off, if it was; the seconds that the method has had."""
        kept = self._resume.load()
        if kept is None:
            return 0.0
        self.record["resumed"] = kept["resumed"] + 1
        self.request.progress.saved = kept["stages"]
        trained_here = self.history.stages()
        for step in kept["told"]:
            if step["stage"] not in trained_here:
                self.tell(Step(**step))
        self.account.take_up(kept["account"])
        return float(kept["spent"])

    def keep(self, spent: float) -> None:
        """Keep what the method has reached, if it is time to."""
        self._resume.keep(
            self.request.progress,
            told=self.history.plain(),
            account=self.account.plain(),
            spent=spent,
            resumed=self.record["resumed"],
        )

    def forget_steps(self) -> None:
        """Begin the history anew, for a stage that is repeated."""
        self.history = History()

    def close(self) -> Outcome:
        """Close the observers, write the record and give the run directory its name."""
        self.record["status"] = "complete" if self.failure is None else "failed"
        self.record["seconds"]["total"] = time.perf_counter() - self.began
        for observer in self.observers:
            try:
                observer.finish(self.record, self.work)
            except Exception as error:
                self.fail(error)
        self._resume.remove()  # not before observers, who may take a minute to be killed in
        try:
            write_json(self.work / RECORD, self.record)
        except OSError as error:
            self.fail(error)
        self.claim.close()
        return Outcome(self.record, self.directory, self.failure)

    def trains(self) -> list[str]:
        """The roles of the networks that are trained here: there is data, and none is given."""
        if self.parts.data is None:
            return []
        spared = set() if self.config.model.checkpoint is None else {"teacher"}
        if not any(audit.needs_judge for audit in self.parts.audits.values()):
            spared.add("judge-1")
        return [r for r in trained(self.config.evaluation.references) if r not in spared]

    def training(self, role: str) -> TrainingConfig:
        """How a network is trained: a further one as its role's of a seed that follows."""
        training = self.config.training
        return training.model_copy(update={"seed": training.seed + seed_offset(role)})

    def classes(self, role: str) -> tuple[int, ...]:
        """The classes that a network is trained on."""
        every = tuple(range(self.config.dataset.num_classes))
        return every if cached_as(role) == "teacher" else self.config.retain

    def rows(self, role: str) -> Split:
        """The training rows of a network."""
        data = self.parts.data
        assert data is not None
        rows = data.train_drawn_by(self.training(role).seed) if seed_offset(role) else data.train
        return rows.only(self.classes(role))

    def wanted(self, role: str) -> TrainingRequest:
        """A fresh network, and all that decides what training makes of it."""
        config, data, hardware = self.config, self.parts.data, self.parts.hardware
        assert data is not None
        plain, seed = config.plain(), self.training(role).seed
        determinants = {
            "data": data.fingerprint,
            "validation": config.dataset.validation,
            "model": {
                k: v for k, v in plain["model"].items() if k not in ("checkpoint", "attention")
            },
            "training": plain["training"] | {"seed": seed},
            "hardware": [config.hardware.autocast, hardware.device.type],
            "classes": list(self.classes(role)),
        }
        network = hardware.place(self.parts.new_network(derive_seed(seed, cached_as(role))))
        return TrainingRequest(
            determinants,
            network,
            lambda network: measure_accuracy(network, data.test, config.forget, hardware),
        )

    def take(self, role: str, network: nn.Module, seconds: float) -> None:
        """Take in a trained network, and how long its training took."""
        self.networks[role] = network
        spent, entry = self.record["seconds"], recorded_as(role)
        spent[entry] = (spent[entry] or 0) + seconds

    def ask(self) -> None:
        """Load the user's own teacher if there is one, and write the request."""
        checkpoint = self.config.model.checkpoint
        if checkpoint is not None:
            network = self.parts.new_network(0)
            self.layout = load_into(network, checkpoint)
            self.networks["teacher"] = self.parts.hardware.place(network).eval()
        self.request = self.make_request(self.networks["teacher"])
        self.watching = StudentMonitor(
            self.request, self.parts.data, self.parts.metrics, self.config.evaluation.every
        )

    def make_request(self, teacher: nn.Module) -> Request:
        """What the method is given: a frozen copy of the teacher, and what its inputs are."""
        config, hardware = self.config, self.parts.hardware
        lowest, highest = (
            (level - torch.tensor(config.dataset.mean)) / torch.tensor(config.dataset.std)
            for level in (0.0, 1.0)
        )
        seed, new_network = derive_seed(config.seed, "student"), self.parts.new_network
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

    def close_account(self) -> None:
        """Put on record what the method has taken."""
        merge(self.record, self.account.figures())

    def observe(self, state: State) -> Observed | None:
        """Take in a step of the method; what it is told of its student, if that is its access."""
        self.samples = state.samples or self.samples
        self.student = state.student if state.student is not None else self.student
        seen = self.watching.look(state)
        self.tell(Step(state.stage, state.step, state.total, state.scalars, seen))
        told = "retain" in seen and self.parts.method.access == "oracle"
        return self.account.tell(seen) if told else None

    def evaluate(self) -> None:
        """Save the student; run every metric, whatever became of the one before it."""
        assert self.student is not None
        student = self.student.eval()
        self.layout.save(student, self.work / f"student{self.layout.suffix}")
        start = time.perf_counter()
        models = Models(
            self.networks["teacher"],
            self.networks.get("retrained"),
            student,
            tuple(self.networks[r] for r in self.networks if r.startswith("reference-")),
        )
        setting = MetricContext(
            self.request,
            self.parts.data,
            self.history.frame(),
            self.samples,
            self.config.dataset.class_names,
            self.work / "figures",
            self.parts.shelf,
        )
        for name, metric in self.parts.metrics.items():
            self.attempt(partial(self._measure, name, metric, models, setting), even_so=True)
        self.attempt(lambda: merge(self.record, self.watching.figures(student)), even_so=True)
        self.attempt(partial(self._audit, models), even_so=True)
        self.record["alarms"] = alarms(self.record["accuracy"], setting.history)
        self.record["seconds"]["evaluation"] = self.watching.seconds + time.perf_counter() - start

    def _measure(
        self, name: str, metric: Metric | StudentMetric, models: Models, setting: MetricContext
    ) -> None:
        if not isinstance(metric, StudentMetric) and not (
            metric.needs_data and self.parts.data is None
        ):
            merge(self.record, {name: metric(models, setting)})

    def _audit(self, models: Models) -> None:
        """Set the student among retrained networks, as far as the config asks and there is data."""
        data, audits = self.parts.data, self.parts.audits
        if data is not None and audits:
            most = self.config.evaluation.audit_rows
            judge = self.networks.get("judge-1")
            bench = AuditContext(self.request, data, judge, most, self.parts.shelf)
            merge(self.record, run_audits(audits, models, bench))

    def tell(self, step: Step) -> None:
        """Let everyone who listens know of a step."""
        for observer in self.observers:
            observer.step(step)
