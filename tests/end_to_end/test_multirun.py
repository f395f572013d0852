"""Sweeps: every job gets its own record, and a failed one does not take the others with it."""

from __future__ import annotations

from pathlib import Path

import yaml
from command_line import TINY, Cli, record_in


def records(outputs: Path) -> list[dict[str, object]]:
    return [record_in(path.parent) for path in sorted(outputs.rglob("record.json"))]


def test_a_sweep_over_classes_and_thresholds(cli: Cli, tmp_path: Path) -> None:
    sweep = ["forget=[0],[1,2]", "filter.entropy=0.5,null"]
    done = cli("-m", *TINY, *sweep, "filter.entropy_definition=quantile")
    assert done.returncode == 0, done.stderr
    found = records(tmp_path / "outputs")
    assert len(found) == 4
    assert {tuple(r["forget"]) for r in found} == {(0,), (1, 2)}  # type: ignore[arg-type]
    assert len({r["config_hash"] for r in found}) == 4
    assert done.stdout.count("Files: ") == 4


def test_a_failed_job_is_recorded_and_the_rest_go_on(cli: Cli, tmp_path: Path) -> None:
    done = cli("-m", *TINY, "method.learning_rate=1e30,0.001", "seed=0,1")
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if line.startswith("unlearn: job ")]
    assert len(said) == 2
    assert all("method.learning_rate=1e+30" in line and "not finite" in line for line in said)
    found = records(tmp_path / "outputs")
    assert sorted(str(r["status"]) for r in found) == ["complete", "complete", "failed", "failed"]
    assert all("not finite" in str(r["error"]) for r in found if r["status"] == "failed")

    again = cli("-m", *TINY, "method.learning_rate=1e30,0.001", "seed=0,1")
    assert again.returncode == 1, "the failed jobs are tried again"
    assert len(records(tmp_path / "outputs")) == 4


def test_the_objective_is_returned_to_the_sweeper(tmp_path: Path, cli: Cli) -> None:
    """Hydra hands what a job returns to the sweeper; a callback of Hydra's writes it down."""
    (tmp_path / "listener.py").write_text(
        "from hydra.experimental.callback import Callback\n"
        "class Listener(Callback):\n"
        "    def on_job_end(self, config, job_return, **kwargs):\n"
        "        open('returned.txt', 'a').write(f'{job_return._return_value}\\n')\n"
    )
    done = cli(
        *TINY,
        "objective=accuracy.unlearned.test.forget",
        "run_dir=here",
        "+hydra.callbacks.listener._target_=listener.Listener",
        PYTHONPATH=str(tmp_path),
    )
    assert done.returncode == 0, done.stderr
    record = record_in(tmp_path / "here")
    returned = float((tmp_path / "returned.txt").read_text())
    assert returned == record["accuracy"]["unlearned"]["test"]["forget"]


def test_as_published_lays_its_settings_under_what_was_typed(cli: Cli, tmp_path: Path) -> None:
    done = cli(
        *TINY,
        "training.epochs=15",
        "method.as_published=true",
        "method.latent=16",
        "evaluation.every=2",
        "run_dir=here",
    )
    assert done.returncode == 0, done.stderr
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
    done = cli("-m", *TINY, *launch, "method.learning_rate=1e30,0.001", "seed=0,1")
    assert done.returncode == 1
    assert len([line for line in done.stderr.splitlines() if "not finite" in line]) >= 2
    found = records(tmp_path / "outputs")
    assert sorted(str(r["status"]) for r in found) == ["complete", "complete", "failed", "failed"]
