"""The parts of docs/extending: two files each, their commands run, and all of them as a package."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.command_line import Cli, record_in, run_program, said_in
from tests.helpers.pages import play, write_files
from tests.helpers.paths import DOCS, ROOT

PAGES = {
    "method": {".py", ".yaml"},
    "dataset": {".py", ".yaml"},
    "network": {".py", ".yaml"},
    "filter": {".py", ".yaml"},
    "metric": {".py", ".yaml"},
    "audit": {".py", ".yaml"},
    "report_format": {".py"},
}
PARTS = ["method=noise_distil", "dataset=rows", "model=small_cnn", "filter=margin"]
EVALUATION = "evaluation=[quick,confidence,forget_logit]"
SEARCHED = "hydra.searchpath=[pkg://my_parts.conf]"
CLASS = "method._target_=my_parts.noise_distil.NoiseDistillation"
NO_YAML = [CLASS, "++method.steps=5", "++method.batch_size=32", "++method.learning_rate=0.001"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The search path of a Python that has the pages' package installed."""
    folder = tmp_path_factory.mktemp("package")
    for page in [*PAGES, "package"]:
        write_files(f"extending/{page}.md", folder)
    offline = ["--no-index", "--no-deps", "--no-build-isolation"]
    target = tmp_path_factory.mktemp("site")
    words = ["install", "-q", *offline, "--target", str(target), str(folder)]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True)
    return f"{target}:{ROOT}"


def report(folder: Path, path: str, *words: str) -> list[list[str]]:
    """The rows of a report whose columns are separated by tabs."""
    command = ["-m", "unlearn.report", *words, "--format", "tsv"]
    done = run_program(*command, folder=folder, PYTHONPATH=path)
    return list(csv.reader(done.stdout.splitlines(), delimiter="\t"))


def test_every_part_has_a_page() -> None:
    written = {path.stem for path in (DOCS / "extending").glob("*.md")}
    assert written == {"index", *PAGES, "package"}


@pytest.mark.parametrize("page", PAGES)
def test_a_part_is_one_python_file_and_one_yaml_file(page: str, tmp_path: Path) -> None:
    write_files(f"extending/{page}.md", tmp_path)
    written = [path.suffix for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(written) == sorted(PAGES[page])


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if page != "report_format"])
def test_the_commands_of_a_page_run(page: str, tmp_path: Path) -> None:
    play(f"extending/{page}.md", tmp_path, OMP_NUM_THREADS="1")
    (record,) = (record_in(path.parent) for path in tmp_path.rglob("record.json"))
    assert record["status"] == "complete"


def test_one_run_uses_a_part_of_every_kind(cli: Cli, tmp_path: Path, installed: str) -> None:
    words = [SEARCHED, *PARTS, EVALUATION, "experiment=quick", "run_dir=runs/here"]
    cli(*words, "model=small_cnn", PYTHONPATH=installed)
    record = record_in(tmp_path / "runs" / "here")
    named = (record["method"], record["dataset"], record["model"])
    assert named == ("noise_distil", "rows", "small_cnn")
    assert record["config"]["filter"]["margin"] == 0.05
    confidence = record["confidence"]["forget"]
    logit = record["audits"]["forget_logit/mean"]
    assert record["figures"]["confidence.forget"] == {"name": "confidence", "unit": "%"}

    figures = "confidence,confidence.forget,forget logit,audits.forget_logit/mean.low"
    head, row = report(tmp_path, installed, "runs", "--rows", "method", "--figures", figures)
    shown = dict(zip(head, row, strict=True))
    assert shown.pop("method") == "noise_distil"
    assert shown.pop("runs") == "1"
    expected = [confidence, confidence, logit["unlearned"], logit["low"]]
    assert [float(value) for value in shown.values()] == pytest.approx(expected, abs=0.005)


@pytest.mark.slow
def test_an_installed_method_is_ranked(cli: Cli, tmp_path: Path, installed: str) -> None:
    board = ["experiment=[leaderboard/digits,quick]", "method=noise_distil,delete"]
    board += ["evaluation.references=2"]
    cli(SEARCHED, *board, "model=lenet", "hardware.threads=1", PYTHONPATH=installed)
    rows = report(tmp_path, installed, "leaderboard", "outputs")
    assert {(row[2], row[4]) for row in rows[1:]} == {
        ("none", "noise_distil"),
        ("forget", "delete"),
    }
    assert [row[3] for row in rows[1:]] == ["1", "1"]


def test_a_class_runs_without_a_yaml_file(cli: Cli, tmp_path: Path, installed: str) -> None:
    words = [*NO_YAML, "evaluation=quick", "experiment=quick", "model=lenet", "run_dir=here"]
    cli(*words, PYTHONPATH=installed)
    record = record_in(tmp_path / "here")
    assert (record["method"], record["access"]) == ("NoiseDistillation", "none")
    assert record["config"]["method"]["steps"] == 5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["method._target_=my_parts.noise_distil.Nothing"], "method._target_="),
        ([*NO_YAML, "++method.steps=0"], "method.steps=0"),
        ([*NO_YAML, "++method.width=3"], "method.width=3"),
        ([SEARCHED, "filter=margin", "filter.margin=-1"], "filter.margin=-1"),
        ([SEARCHED, "model=small_cnn", "+model.depth=2"], "model.depth=2"),
        ([SEARCHED, "dataset=rows", "dataset.num_classes=2"], "dataset."),
        ([SEARCHED, "evaluation=[quick,nope]"], "evaluation=[quick,nope]"),
    ],
)
def test_a_mistake_is_one_line(cli: Cli, installed: str, words: list[str], said: str) -> None:
    done = cli("model=lenet", *words, PYTHONPATH=installed, code=2)
    (line,) = said_in(done)
    assert line.startswith(f"unlearn: {said}")
