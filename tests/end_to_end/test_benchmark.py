"""The benchmark end to end: figures that hang together, one JSON a setting, one table of all."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.helpers.command_line import run_program
from tests.helpers.paths import ROOT

SMALL = [
    "training.epochs=1",
    "hardware=cpu",
    "hardware.threads=1",
    "tracking.mode=disabled",
    "benchmark.rounds=2",
    "benchmark.least=0.05",
    "benchmark.published_steps=100",
]
METHODS = {
    "gkt": ["method.batch_size=16", "method.generator_width=8", "method.fresh_noise=false"],
    "noise": ["method.noises=4"],
    "inversion": ["method.images=2", "method.inversion_batch=10", "method.inversion_steps=10"],
    "retrain": [],
}


def benchmark(outputs: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    words = ["-m", "scripts.benchmark", *SMALL, f"outputs={outputs}", *arguments]
    return run_program(*words, folder=ROOT, code=code)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_its_figures(tmp_path: Path, method: str) -> None:
    model = ["model=allcnn", "model.width=0.05"]
    benchmark(tmp_path, f"method={method}", *METHODS[method], *model)
    (path,) = (tmp_path / "benchmark").rglob("*.json")
    found = json.loads(path.read_text())
    assert found["model"] == "allcnn 0.05"
    ratio, seconds, steps = found["ratio"], found["seconds_a_step"], found["steps"]
    assert 0 < ratio["least"] <= ratio["median"] <= ratio["most"]
    whole = {k: seconds[k] * steps[k] for k in ("published", "ours")}
    assert ratio["least"] * 0.5 < whole["published"] / whole["ours"] < ratio["most"] * 2
    for program in ("published", "ours"):
        shares = found["shares"][program]
        assert all(0 <= share <= 1.05 for share in shares.values())
        assert sum(shares.values()) == pytest.approx(1, abs=0.06)
    worker = "teacher" if method in ("noise", "inversion") else "student"
    assert found["shares"]["ours"][worker] > 0.1
    assert 0 < found["floor_seconds_a_step"] < seconds["ours"]
    assert found["peak_mib"]["ours"] > 100
    assert found["machine"]["threads"] == 1
    if method == "inversion":
        assert steps == {"published": 2 * 100, "ours": 2 * 10}
    if method == "gkt":
        flops = {name: found["flops_a_step"][name] * steps[name] for name in steps}
        assert flops["ours"] < 0.6 * flops["published"]
    table = (tmp_path / "benchmark" / "table.md").read_text()
    assert table.count("\n") == 3
    assert f"| {method} | allcnn 0.05 |" in table


def test_a_method_without_a_published_loop_is_refused(tmp_path: Path) -> None:
    done = benchmark(tmp_path, "method=original", "model=lenet", code=2)
    assert done.stderr.splitlines()[-1].startswith("benchmark: method=original: allowed are gkt,")
