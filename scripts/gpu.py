"""Everything that only a GPU can show, in nine minutes: tests, speed, training and four methods.

    python scripts/gpu.py --data cifar10.npz

It runs its parts one after the other, each step by itself and within the time that is left. After
each step it writes `gpu.csv` and `gpu.md` anew to the folder `--out`, so that a cut loses nothing.
`--tiny` does the same on digits at the smallest sizes, on whatever device there is.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import torch

from unlearn.errors import exit_on_error

ROOT = Path(__file__).resolve().parents[1]
COLUMNS = ("part", "step", "figure", "value", "seconds")
METHODS = {
    "masked_logit": ["method=masked_logit"],
    "regrow": ["method=regrow"],
    "gkt_masked": ["method=gkt"],
    "gkt as published": ["method=gkt", "method.as_published=true"],
}
SPEED = {
    "gkt, AllCNN 0.25": ["method=gkt", "model=allcnn", "method.batch_size=256"],
    "gkt, AllCNN 1": ["method=gkt", "model=allcnn_full", "method.batch_size=64"],
    "gkt, ResNet-20": ["method=gkt", "model=resnet20", "method.batch_size=256"],
    "inversion, ResNet-20": ["method=inversion", "model=resnet20", "method.inversion_batch=200"],
}


@dataclass(frozen=True)
class Step:
    """One command, and where its figures will be.

    Args:
        part: The part that it belongs to: tests, speed, training or methods.
        name: What it runs.
        words: The command.
        found: The pattern of the files that it writes, in the folder of outputs.
    """

    part: str
    name: str
    words: list[str]
    found: str


def list_steps(data: Path | None, outputs: Path, tiny: bool) -> Iterator[Step]:
    """Yield all steps in order.

    Args:
        data: CIFAR-10 as one `.npz` file; not needed if `tiny`.
        outputs: The folder of outputs.
        tiny: Whether everything is as small as possible.
    """
    python = [sys.executable, "-m"]
    report = outputs / "tests.xml"
    tests = [*python, "pytest", "-m", "gpu", "-p", "no:cacheprovider", f"--junitxml={report}"]
    yield Step("tests", "marked gpu", tests, report.name)
    common = ["tracking.mode=disabled", "forget=[3]"]
    if tiny:
        common += ["hardware.threads=1", "training.epochs=1", "evaluation=quick"]
        network = ["model=allcnn", "model.width=0.05"]
    else:
        common += ["dataset=cifar10", f"dataset.root={data}", "hardware=gpu", "evaluation=features"]
        network = ["model=resnet18", "hardware.compile=reduce-overhead"]
    for number, (name, words) in enumerate(SPEED.items()):
        folder = f"speed-{number}"
        small = [*network, "method.batch_size=8", "benchmark.least=0.01"] if tiny else []
        if tiny and "method=inversion" in words:
            small += ["method.images=1", "method.inversion_batch=10", "method.inversion_steps=5"]
        size = [*words, *small, "training.epochs=1", "benchmark.rounds=1"]
        size += ["method.as_published=true", "evaluation.every=50"] if "gkt" in name else []
        command = [*python, "scripts.benchmark", *common, *size, f"outputs={outputs / folder}"]
        yield Step("speed", name, command, f"{folder}/benchmark/*/*.json")
    for part, methods in (("training", {"teacher": ["method=original"]}), ("methods", METHODS)):
        for number, (name, words) in enumerate(methods.items()):
            folder = outputs / "runs" / f"{part}-{number}"
            iterates = tiny and words[0] in ("method=regrow", "method=gkt")
            small = ["method.iterations=1", "filter.gate=null"] if iterates else []
            command = [*python, "unlearn", *common, *network, *words, *small]
            command += [f"outputs={outputs}", f"run_dir={folder}"]
            yield Step(part, name, command, f"runs/{folder.name}/record.json")


def run_step(step: Step, outputs: Path, left: float) -> list[dict[str, object]]:
    """Run a step, and return one row for each of its figures, or one with its error.

    Args:
        step: The step.
        outputs: The folder of outputs.
        left: The seconds after which the command is ended.
    """
    began = time.perf_counter()
    try:
        done = subprocess.run(
            step.words, cwd=ROOT, capture_output=True, text=True, timeout=left, check=False
        )
        fault = None if done.returncode == 0 else (done.stderr.strip() or "failed").splitlines()[-1]
    except subprocess.TimeoutExpired:
        fault = f"ended after {left:.0f} s"
    figures: Mapping[str, object] = {}
    for file in outputs.glob(step.found):
        figures = read_figures(file)
    figures = {"error": fault} | figures if fault is not None and step.part != "tests" else figures
    row = {"part": step.part, "step": step.name, "seconds": round(time.perf_counter() - began, 1)}
    known = {name: value for name, value in figures.items() if value is not None}
    return [row | {"figure": name, "value": value} for name, value in known.items()]


def read_figures(file: Path) -> dict[str, object]:
    """Read the figures of a step from the file that it wrote: JUnit, benchmark or record."""
    if file.suffix == ".xml":
        suite = next(ElementTree.parse(file).iter("testsuite"))
        return {
            name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")
        }
    found = json.loads(file.read_text())
    if "ratio" in found:
        return {"published / ours": found["ratio"]["median"], "precision": found["precision"]}
    accuracy, seconds = found["accuracy"], found["seconds"]
    figures: dict[str, object] = {}
    for name in ("original", "retrained", "unlearned"):
        figures |= {
            f"{name} D_{part[0]}": accuracy[name]["test"][part] for part in accuracy[name]["test"]
        }
    figures |= {
        "probe excess": found["probe"]["excess"],
        "JS forget": found["divergence"]["forget"],
    }
    return figures | {f"{stage} s": seconds[stage] for stage in ("teacher", "retrained", "unlearn")}


def write_rows(rows: list[dict[str, object]], folder: Path, device: str) -> None:
    """Write all rows so far as `gpu.csv` and as the page `gpu.md`."""
    with (folder / "gpu.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    lines = [
        f"# On {device}",
        "",
        f"torch {torch.__version__}. Made by `python scripts/gpu.py`.",
        "",
    ]
    lines += [f"| {' | '.join(COLUMNS)} |", "|---|---|---|---|---|"]
    for row in rows:
        cells = (str(row[name]).replace("|", "\\|") for name in COLUMNS)
        lines.append(f"| {' | '.join(cells)} |")
    (folder / "gpu.md").write_text("\n".join(lines) + "\n")


def main() -> None:
    """Run all steps."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="CIFAR-10 as one .npz file")
    parser.add_argument("--out", type=Path, default=Path("outputs/gpu"), help="where results go")
    parser.add_argument("--seconds", type=float, default=540, help="time for everything")
    parser.add_argument("--tiny", action="store_true", help="digits, at the smallest sizes")
    options = parser.parse_args()
    if not options.tiny and options.data is None:
        parser.error("--data is needed unless --tiny is given")
    ends, out = time.perf_counter() + options.seconds, options.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "a CPU"
    rows: list[dict[str, object]] = []
    with exit_on_error("gpu"):
        data = options.data and options.data.absolute()
        for step in list_steps(data, out, options.tiny):
            rows += run_step(step, out, max(1.0, ends - time.perf_counter()))
            write_rows(rows, out, device)
            print(f"{step.part}: {step.name}", flush=True)


if __name__ == "__main__":
    main()
