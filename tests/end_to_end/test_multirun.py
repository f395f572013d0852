"""Sweeps: every job gets its own record, and a failed one does not take the others with it."""

from pathlib import Path

import pytest
import yaml

from tests.helpers.command_line import TINY, Cli, record_in
from tests.helpers.paths import ROOT


def records(outputs: Path) -> list[dict[str, object]]:
    return [record_in(path.parent) for path in sorted(outputs.rglob("record.json"))]


def test_a_sweep_over_classes_and_thresholds(cli: Cli, tmp_path: Path) -> None:
    sweep = ["forget=[0],[1,2]", "filter.entropy=0.5,null"]
    done = cli("-m", *TINY, *sweep, "filter.entropy_definition=quantile")
    found = records(tmp_path / "outputs")
    assert len(found) == 4
    assert {tuple(r["forget"]) for r in found} == {(0,), (1, 2)}
    assert len({r["config_hash"] for r in found}) == 4
    assert done.stdout.count("Files: ") == 4


def test_the_design_cover_runs_each_value_once(cli: Cli, tmp_path: Path) -> None:
    lists = ["seed=0,1,2", "forget=[0],[1,2]"]
    cli("-m", *TINY, *lists, "design=cover")
    found = [(r["seed"], r["forget"]) for r in records(tmp_path / "outputs")]
    assert sorted(found) == [(0, [0]), (1, [1, 2]), (2, [0])]


def test_missing_data_are_said_once_before_the_first_run(cli: Cli, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    done = cli("-m", "dataset=mnist", f"dataset.root={nowhere}", "forget=0,1,2", "seed=0,1", code=2)
    plan, refusal = done.stderr.splitlines()
    assert plan.startswith("unlearn: 6 runs: 6 new")
    assert refusal.startswith(f"unlearn: dataset.root={nowhere}: no readable mnist data in")
    assert not (tmp_path / "outputs").exists()


def test_a_failed_job_is_recorded_and_the_rest_go_on(cli: Cli, tmp_path: Path) -> None:
    done = cli("-m", *TINY, "method.learning_rate=1e30,0.001", "seed=0,1", code=1)
    said = [line for line in done.stderr.splitlines() if line.startswith("unlearn: job ")]
    assert len(said) == 2
    assert all("method.learning_rate=1e+30" in line and "not finite" in line for line in said)
    found = records(tmp_path / "outputs")
    assert sorted(str(r["status"]) for r in found) == ["complete", "complete", "failed", "failed"]
    assert all("not finite" in str(r["error"]) for r in found if r["status"] == "failed")

    cli("-m", *TINY, "method.learning_rate=1e30,0.001", "seed=0,1", code=1)
    assert len(records(tmp_path / "outputs")) == 4


def test_a_sweep_in_one_process_reads_its_data_once(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "noted.py").write_text(
        "import os\n"
        "from unlearn.data import digits\n"
        "def load():\n"
        "    open('reads.txt', 'a').write(f'{os.getpid()}\\n')\n"
        "    return digits.load(0.3)\n"
    )
    cli("-m", *TINY, "dataset._target_=noted.load", "~dataset.test_fraction", "seed=0,1,2")
    assert len(records(tmp_path / "outputs")) == 3
    assert len((tmp_path / "reads.txt").read_text().splitlines()) == 1
    cli(*TINY, "dataset._target_=noted.load", "~dataset.test_fraction", "seed=3")
    assert len((tmp_path / "reads.txt").read_text().splitlines()) == 2


def test_the_objective_is_returned_to_the_sweeper(tmp_path: Path, cli: Cli) -> None:
    """Hydra hands what a job returns to the sweeper; a callback of Hydra's writes it down."""
    (tmp_path / "listener.py").write_text(
        "from hydra.experimental.callback import Callback\n"
        "class Listener(Callback):\n"
        "    def on_job_end(self, config, job_return, **kwargs):\n"
        "        open('returned.txt', 'a').write(f'{job_return._return_value}\\n')\n"
    )
    cli(
        *TINY,
        "objective=accuracy.unlearned.test.forget",
        "run_dir=here",
        "+hydra.callbacks.listener._target_=listener.Listener",
        PYTHONPATH=str(tmp_path),
    )
    record = record_in(tmp_path / "here")
    returned = float((tmp_path / "returned.txt").read_text())
    assert returned == record["accuracy"]["unlearned"]["test"]["forget"]


def test_as_published_lays_its_settings_under_what_was_typed(cli: Cli, tmp_path: Path) -> None:
    cli(
        *TINY,
        "training.epochs=15",
        "method.as_published=true",
        "method.latent=16",
        "evaluation.every=2",
        "run_dir=here",
    )
    assert record_in(tmp_path / "here")["access"] == "oracle"
    config = yaml.safe_load((tmp_path / "here" / "config.yaml").read_text())
    assert config["method"]["start"] == 0
    assert config["method"]["target"] == "raw"
    assert config["filter"]["gate"] == 0.01
    assert config["method"]["iterations"] == 4
    assert config["method"]["latent"] == 16
    assert config["evaluation"]["every"] == 2


def test_the_cores_of_one_machine_share_a_sweep(cli: Cli, tmp_path: Path) -> None:
    """Hydra's joblib launcher: each job in a process of its own, failures told and counted."""
    launch = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    done = cli("-m", *TINY, *launch, "method.learning_rate=1e30,0.001", "seed=0,1", code=1)
    assert len([line for line in done.stderr.splitlines() if "not finite" in line]) >= 2
    found = records(tmp_path / "outputs")
    assert sorted(str(r["status"]) for r in found) == ["complete", "complete", "failed", "failed"]


def test_a_sweep_launches_only_what_is_missing(cli: Cli, tmp_path: Path) -> None:
    cli("-m", *TINY, "seed=0", "forget=[0],[1]")
    outputs = tmp_path / "outputs"
    written = {path: path.stat().st_mtime_ns for path in outputs.rglob("record.json")}

    plan = cli(*TINY, "seed=0,1", "-m", "forget=[0],[1]", "launch=plan")
    assert plan.stdout == ""
    assert "unlearn: 4 runs: 2 done, 2 new; the 2 to do will take about" in plan.stderr
    assert len(list(outputs.rglob("record.json"))) == 2

    rest = cli("-m", *TINY, "seed=0,1", "forget=[0],[1]")
    assert rest.stdout.count("Files: ") == 2
    assert len(list(outputs.rglob("record.json"))) == 4
    assert all(path.stat().st_mtime_ns == moment for path, moment in written.items())

    alone = cli(*TINY, "seed=0", "launch=plan")
    assert "unlearn: 1 runs: 1 done" in alone.stderr


def test_no_job_of_a_sweep_begins_if_one_cannot(cli: Cli, tmp_path: Path) -> None:
    done = cli("-m", *TINY, "forget=[0],[12]", code=2)
    assert done.stderr == (
        "unlearn: forget=[12]: allowed are one or more of the classes 0 to 9 of digits\n"
    )
    assert not (tmp_path / "outputs").exists() or not list(tmp_path.rglob("record.json"))


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("model.checkpoint=null,nope.pt", "unlearn: model.checkpoint=nope.pt: no such file"),
        ("method=embeddings method.layer=null,blocks.9", "unlearn: method.layer=blocks.9: "),
        ("evaluation.metrics.accuracy._target_=no.Such", "no.Such"),
    ],
)
def test_no_job_begins_if_one_is_broken(cli: Cli, tmp_path: Path, typed: str, said: str) -> None:
    tiny = [a for a in TINY if not a.startswith("method")]
    done = cli("-m", *tiny, "seed=0,1", *typed.split(), code=2)
    planned, line = done.stderr.splitlines()
    assert "new" in planned
    assert said in line
    assert not list(tmp_path.rglob("model.safetensors"))


SEARCH = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "method.start=interval(0.5,1.0)"]


def test_a_search_needs_an_objective_without_data(cli: Cli, tmp_path: Path) -> None:
    refused = cli("-m", *TINY, *SEARCH, code=2)
    assert refused.stderr.startswith("unlearn: objective=accuracy.unlearned.test.retain: ")
    assert "proxy.score" in refused.stderr
    assert "allow_oracle=true" in refused.stderr
    cli("-m", *TINY, *SEARCH, cold=True, PYTHONPATH=str(ROOT), code=2)
    unmeasured = cli("-m", *TINY, *SEARCH, "objective=proxy.score", code=2)
    assert "objective=proxy.score: no number that this evaluation measures" in unmeasured.stderr
    less = cli("-m", *TINY, *SEARCH, "objective=proxy.forget", code=2)
    assert "hydra.sweeper.direction=minimize" in less.stderr
    assert not list(tmp_path.rglob("record.json"))

    quick = ["evaluation=figures", "evaluation.metrics.relearn.max_steps=2"]
    words = [a for a in TINY if not a.startswith("evaluation")] + quick
    searched = cli("-m", *words, *SEARCH, "objective=proxy.score")
    found = records(tmp_path / "outputs")
    best = max(r["proxy"]["score"] for r in found)
    assert f"best proxy.score {best:.4g} with method.start=" in searched.stderr
    assert [r["oracle"] for r in found] == [False, False]


def test_a_search_over_test_accuracies_marks_its_runs(cli: Cli, tmp_path: Path) -> None:
    cli("-m", *TINY, *SEARCH, "allow_oracle=true")
    assert [r["oracle"] for r in records(tmp_path / "outputs")] == [True, True]


def test_a_failed_trial_does_not_end_a_search(cli: Cli, tmp_path: Path) -> None:
    words = [a for a in TINY if not a.startswith("evaluation")] + ["evaluation=debug"]
    search = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=4", "hydra.sweeper.n_jobs=1"]
    search += ["hydra.sweeper.sampler.seed=7", "objective=seconds.unlearn"]
    search += ["hydra.sweeper.direction=minimize"]
    done = cli("-m", *words, *search, "method.learning_rate=choice(0.001,0.002,1e30)")
    statuses = {str(r["status"]) for r in records(tmp_path / "outputs")}
    assert statuses == {"complete", "failed"}
    assert "best seconds.unlearn" in done.stderr
