"""A sweep's plan: the configs that Hydra composes for each job, and how far each run has come."""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose
from omegaconf import DictConfig

from tests.helpers.paths import CONF
from unlearn.config.resolve import resolve_config
from unlearn.config.schema import RunConfig
from unlearn.errors import ConfigError
from unlearn.records.folder import lock_run
from unlearn.records.places import locate_run, partial_directory
from unlearn.records.plan import Plan, inspect_run, plan_sweep
from unlearn.records.queue import note_job
from unlearn.records.record import RECORD, read_record, write_json
from unlearn.records.template import new_record
from unlearn.resume import Progress, ResumeFile, interruption

pytestmark = pytest.mark.usefixtures("composing")

GROUPS = {path.name for path in CONF.iterdir() if path.is_dir()}


def composed(words: list[str]) -> DictConfig:
    return compose("config", words)


def planned(jobs: list[list[str]], composing: Callable[[list[str]], DictConfig] = composed) -> Plan:
    return plan_sweep(jobs, composing, GROUPS.__contains__)


def product(tmp_path: Path, *choices: list[str]) -> list[list[str]]:
    return [[*words, f"outputs={tmp_path}"] for words in itertools.product(*choices)]


def write(config: RunConfig, status: str, directory: Path | None = None) -> Path:
    """Write the record of a run that took 30 s to its directory, or to another."""
    identity, usual = locate_run(config)
    place = directory or usual
    place.mkdir(parents=True)
    record = new_record(config, identity)
    record["seconds"]["total"] = 30.0
    (place / RECORD).write_text(json.dumps(record | {"status": status}))
    return place


@pytest.mark.parametrize(
    "choices",
    [
        [["forget=[0]", "forget=[1,2]"], ["filter.entropy=0.5", "filter.entropy=null"], ["seed=7"]],
        [["method=scrub", "method=jit"], ["model=lenet"], ["dataset=fashion_mnist", "seed=2"]],
        [["method=retrain"], ["training.epochs=3", "training.epochs=5"], ["seed=0", "seed=1"]],
        [["method=gkt", "method=noise"], ["model=lenet", "model=allcnn"], ["seed=0", "seed=2"]],
        [["method=gkt"], ["method.as_published=true", "method.as_published=false"]],
        [["experiment=published", "experiment=debug"], ["seed=3", "seed=4"]],
        [["method._target_=mine.Method", "method._target_=mine.Other"], ["seed=3", "seed=4"]],
        [["training.seed=${seed}", "training.seed=9"], ["seed=3", "seed=4"]],
        [["model.checkpoint=teacher_${seed}.pt"], ["seed=3", "seed=4"]],
        [["model.checkpoint=${dataset.name}_${training.seed}.pt"], ["seed=3", "seed=4"]],
        [["dataset.mean=[0.3,0.3,0.3]"], ["dataset.std=[1,1,1]"], ["dataset.shape=[3,8,8]"]],
        [["model._target_=mine.Net"], ["dataset.num_classes=10"], ["seed=3", "seed=4"]],
        [["tracking.mode=disabled"], ["evaluation.every=2", "evaluation.every=null"]],
    ],
)
def test_the_plan_has_the_runs_that_hydra_composes(
    tmp_path: Path, choices: list[list[str]]
) -> None:
    jobs = product(tmp_path, *choices)
    found = planned(jobs)
    for job, (words, run) in zip(jobs, found.jobs, strict=True):
        assert list(words) == job
        assert run.directory == locate_run(resolve_config(composed(job), job))[1]


def test_plain_values_are_composed_once(tmp_path: Path) -> None:
    calls = []

    def counting(words: list[str]) -> DictConfig:
        calls.append(words)
        return composed(words)

    seeds = [f"seed={seed}" for seed in range(50)]
    found = planned(product(tmp_path, seeds, ["method=gkt", "method=noise"]), counting)
    assert len(calls) == 2, "once for each method"
    assert len({run.directory for run in found.runs()}) == 100


def test_every_run_is_checked_before_the_first_begins(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"forget=\[12\]: allowed are .* 0 to 9"):
        planned(product(tmp_path, ["forget=[0]", "forget=[12]"]))


def test_runs_stand_where_their_files_say(tmp_path: Path) -> None:
    jobs = product(tmp_path, [f"seed={seed}" for seed in range(6)])
    configs = [resolve_config(composed(job), job) for job in jobs]
    places = [locate_run(config)[1] for config in configs]
    write(configs[0], "complete")
    write(configs[1], "failed")
    (write(configs[2], "complete") / RECORD).write_text("")
    write(configs[3], "unfinished", partial_directory(places[3]))
    write(configs[4], "unfinished", partial_directory(places[4]))
    with lock_run(configs[4], places[4]):
        found = planned(jobs)
    assert [run.status for run in found.runs()] == [
        "done",
        "failed",
        "new",
        "cut off",
        "running",
        "new",
    ]
    assert found.missing() == [jobs[1], jobs[2], jobs[3], jobs[5]]
    assert found.summary().startswith("6 runs: 1 done, 1 running, 1 cut off, 1 failed, 2 new; ")
    assert "the 4 to do will take about 0.033 hours of one process, at 30 s each" in found.summary()


def test_with_force_what_is_done_is_to_be_run_again(tmp_path: Path) -> None:
    jobs = product(tmp_path, ["seed=0", "seed=1", "seed=2"], ["force=true"])
    configs = [resolve_config(composed(job), job) for job in jobs]
    write(configs[0], "complete")
    write(configs[1], "failed")
    found = planned(jobs)
    assert [run.status for run in found.runs()] == ["to be run again", "failed", "new"]
    assert found.missing() == jobs
    assert "at 30 s each" in found.summary()


def test_a_complete_run_that_lacks_its_name_is_done(tmp_path: Path) -> None:
    """A process was killed between the two renames that replace a run."""
    config = resolve_config(composed([f"outputs={tmp_path}"]), [])
    directory = locate_run(config)[1]
    for hidden in ("partial", "old"):
        place = write(config, "complete", directory.with_name(f".{directory.name}.{hidden}"))
        assert inspect_run(config).status == "done"
        place.rename(tmp_path / hidden)


def test_a_directory_that_cannot_be_used_is_refused_in_the_plan(tmp_path: Path) -> None:
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "thesis.txt").write_text("years of work")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    jobs = [[f"run_dir={tmp_path}/{name}"] for name in ("papers", "link", "free")]
    assert [run.status for run in planned(jobs).runs()] == ["refused", "refused", "new"]
    assert planned(jobs).missing() == jobs, "each says what is wrong when it is run"


def test_another_run_under_the_same_eight_digits_keeps_its_place(tmp_path: Path) -> None:
    config = resolve_config(composed([f"outputs={tmp_path}"]), [])
    identity, short = locate_run(config)
    write(config, "complete")
    record = read_record(short)
    assert record is not None
    for place in (short, partial_directory(short)):
        place.mkdir(exist_ok=True)
        write_json(place / RECORD, record | {"config_hash": f"{identity[:8]}00000000"})
        directory = locate_run(config)[1]
        assert directory == short.with_name(f"seed-{config.seed}-{identity}")
        assert inspect_run(config).status == "new"
        (place / RECORD).unlink()


def test_the_data_of_what_is_to_do_are_named_once(tmp_path: Path) -> None:
    jobs = product(tmp_path, ["dataset=digits", "dataset=mnist"], ["seed=0", "seed=1"])
    assert [config.dataset.name for config in planned(jobs).datasets()] == ["digits", "mnist"]
    for job in jobs[:2]:
        write(resolve_config(composed(job), job), "complete")
    assert [config.dataset.name for config in planned(jobs).datasets()] == ["mnist"]


def test_without_a_finished_run_nothing_is_estimated(tmp_path: Path) -> None:
    assert "not known" in planned(product(tmp_path, ["seed=0", "seed=1"])).summary()


@pytest.mark.slow
def test_ten_thousand_runs_are_planned_in_seconds(tmp_path: Path) -> None:
    seeds = [f"seed={seed}" for seed in range(200)]
    classes = [f"forget=[{c}]" for c in range(10)]
    entropies = [f"filter.entropy={e}" for e in (0.1, 0.25, 0.5, 1.0, "null")]
    jobs = product(tmp_path, classes, entropies, seeds)
    for run in planned(jobs).runs()[::2]:
        write(run.config, "complete")
    started = time.process_time()
    found = planned(jobs)
    spent = time.process_time() - started
    assert len(found.runs()) == 10_000
    assert spent < 10, f"{spent:.1f} s of processor time; 5 s are meant on an idle machine"


def test_two_runs_in_one_directory_are_refused(tmp_path: Path) -> None:
    shared = [[f"seed={seed}", f"run_dir={tmp_path}/one"] for seed in (0, 1)]
    with pytest.raises(ConfigError, match=r"run_dir=.*would hold two runs of the sweep"):
        planned(shared)
    own = [[f"seed={seed}", f"run_dir={tmp_path}/${{seed}}"] for seed in (0, 1)]
    assert len(planned([*own, own[0]]).runs()) == 3, "the same run twice is one run"


def test_the_order_of_the_forget_classes_makes_no_other_run() -> None:
    one, other = (resolve_config(composed([f"forget={typed}"]), []) for typed in ("[1,2]", "[2,1]"))
    assert one.forget == other.forget == (1, 2)
    assert locate_run(one) == locate_run(other)


def test_a_class_alone_is_a_list_of_one(tmp_path: Path) -> None:
    alone, listed = planned(product(tmp_path, ["forget=3", "forget=[3]"])).runs()
    assert alone == listed
    assert alone.directory.parent.name == "forget-3"


@pytest.mark.parametrize("typed", ["12", "-1", "true", "0.5", "cat"])
def test_what_is_no_class_is_no_list_of_one(typed: str) -> None:
    with pytest.raises(ConfigError, match="forget"):
        resolve_config(composed([f"forget={typed}"]), [f"forget={typed}"])


def test_a_queued_run_is_not_submitted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A squeue of two lines stands in for SLURM; the real one is asked in tests/slurm."""
    (tmp_path / "squeue").write_text("#!/bin/sh\necho '7 0 PENDING'; echo '7 1 COMPLETED'\n")
    (tmp_path / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    jobs = product(tmp_path, ["seed=0", "seed=1", "seed=2"])
    for number, job in enumerate(jobs[:2]):
        note_job(locate_run(resolve_config(composed(job), job))[1], f"7_{number}")
    found = planned(jobs)
    assert [run.status for run in found.runs()] == ["queued", "new", "new"]
    assert found.missing() == jobs[1:]
    assert found.elsewhere() == 1


def test_an_interruption_waits_for_the_next_checkpoint(tmp_path: Path) -> None:
    stopped: list[int] = []
    file, progress = ResumeFile(tmp_path / "resume.pt", 1e6, {}), Progress()
    for step in progress.steps("loop", 6, dict):
        file.keep(progress)
        assert not stopped or step > 3
        if step == 3:
            interruption.request(lambda: stopped.append(1))
    assert stopped == [1]
    assert file.load() is not None
