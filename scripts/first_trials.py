"""The first trials of the project's design, over seeds: run what is missing, then the table.

    python scripts/first_trials.py lenet --seeds 5 --outputs outputs/trials

Each row is one setting with every key that matters typed out, so that changed defaults do not
change what a row means. `--part 0/2` runs every second of the missing runs: start one process a
core. Every run is resumable; the table is made from the records that are there.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from hydra import compose, initialize_config_dir

from unlearn.config.resolve import resolve_config
from unlearn.config.schema import RunConfig
from unlearn.errors import UnlearnError
from unlearn.records.record import RECORD, place, read
from unlearn.report.pivot import pivot
from unlearn.report.runs import FIGURES, row
from unlearn.report.write import markdown

FIGURES_SHOWN = ["original D_r", "retrained D_r", "D_r", "D_f", "max D_f", "relearn",
                 "retrained relearn", "AIN", "s"]  # fmt: skip
CONF = Path(__file__).resolve().parent.parent / "conf"

QUIET = [
    "tracking.mode=disabled",
    "~tracking.observers.progress",
    "~evaluation.metrics.samples",
    "~evaluation.metrics.inversion_attack",
    "hardware.threads=1",
    "evaluation.every=25",
    "evaluation.metrics.relearn.max_steps=200",
    "evaluation.metrics.relearn.repeats=1",
]
FASHION = [
    "dataset=fashion_mnist",
    "dataset.root=/usr/share/datasets/fashion-mnist",
    "dataset.epochs=10",
    "forget=[0]",
]
GKT = [
    "method=gkt",
    "method.batch_size=128",
    "method.student_steps=10",
    "method.generator_steps=1",
    "method.fresh_noise=false",
    "method.fresh_readout=false",
    "method.latent=64",
    "method.generator_width=32",
    "method.learning_rate=0.001",
    "method.generator_learning_rate=0.001",
    "method.attention_weight=250",
    "method.batch_norm=frozen",
]
BF16 = ["hardware.autocast=bfloat16", "hardware.channels_last=true"]
ALLCNN = [
    *FASHION,
    "model=allcnn",
    "model.width=0.25",
    "training.epochs=5",
    "training.batch_size=256",
    "training.learning_rate=0.004",
    "evaluation.every=8",
    "evaluation.metrics.relearn.max_steps=60",
    *BF16,
]
INVERSION = [
    "method=inversion",
    "method.images=40",
    "method.inversion_batch=400",
    "method.inversion_steps=160",
    "method.warmup=20",
    "method.inversion_learning_rate=0.1",
    "method.start=1",
    "method.fresh_readout=false",
    "method.batch_norm=frozen",
    "method.epochs=10",
    "method.batch_size=100",
    "method.learning_rate=0.001",
]

# What a row is called -> what is typed, by trial.
TRIALS: dict[str, tuple[list[str], dict[str, list[str]]]] = {
    "lenet": (
        [*FASHION, "model=lenet", *GKT],
        {
            "random, gate 0.01, raw, 420 it.": ["start=0", "target=raw", "gate", "iterations=420"],
            "random, gate 0.01, masked, 420 it.": ["start=0", "gate", "iterations=420"],
            "0.3 teacher, gate 0.01, masked, 150 it.": ["start=0.3", "gate", "iterations=150"],
            "0.3 teacher, no gate, masked, 150 it.": ["start=0.3", "iterations=150"],
            "0.6 teacher, no gate, masked, 150 it.": ["start=0.6", "iterations=150"],
            "teacher, no gate, masked, 100 it.": ["start=1", "iterations=100"],
            "teacher, gate 0.01, masked, 60 it.": ["start=1", "gate", "iterations=60"],
        },
    ),
    "allcnn": (
        ALLCNN,
        {
            "generator, teacher, BN train, 25 it.": [*GKT, "start=1", "iterations=25", "train"],
            "generator, 0.6 teacher, BN train, 50 it.": [
                *GKT,
                "start=0.6",
                "iterations=50",
                "train",
            ],
            "generator, teacher, BN frozen, 16 it.": [*GKT, "start=1", "iterations=16"],
            "generator, 0.6 teacher, BN frozen, 32 it.": [*GKT, "start=0.6", "iterations=32"],
            "400 inverted images, teacher, BN frozen": INVERSION,
        },
    ),
    "digits": (
        ["dataset=digits", "forget=[0]", "model=lenet", *GKT, "method.batch_size=256"],
        {
            "random, gate 0.01, raw, 300 it.": ["start=0", "target=raw", "gate", "iterations=300"],
            "random, gate 0.01, masked, 300 it.": ["start=0", "gate", "iterations=300"],
        },
    ),
}
SHORT = {"gate": "filter.gate=0.01", "train": "method.batch_norm=train"}


def typed(words: list[str]) -> list[str]:
    """A row's words as overrides: `start=0.3` is short for `method.start=0.3`."""
    whole = [SHORT.get(word, word) for word in words]
    return [
        word if "." in word.split("=")[0] or word.startswith("method=") else f"method.{word}"
        for word in whole
    ]


def configs(trial: str, seeds: int, outputs: str) -> Iterator[tuple[str, RunConfig]]:
    """Each row's name and each of its runs, seed by seed."""
    common, rows = TRIALS[trial]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for seed in range(seeds):
            for name, words in rows.items():
                overrides = [*QUIET, *common, *typed(words), f"seed={seed}", f"outputs={outputs}"]
                yield name, resolve_config(compose("config", overrides=overrides), overrides)


def _part(text: str) -> slice:
    first, _, step = text.partition("/")
    if not (first.isdigit() and step.isdigit() and int(first) < int(step)):
        raise argparse.ArgumentTypeError(f"{text}: must be k/n with k from 0 to n - 1")
    return slice(int(first), None, int(step))


def main() -> None:
    """Run the missing runs of one trial and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("trial", choices=sorted(TRIALS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--outputs", default="outputs/trials")
    parser.add_argument("--part", type=_part, default="0/1", help="k/n: every n-th run, from k on")
    parser.add_argument("--only", default="", help="rows whose name holds this text")
    parser.add_argument("--table-only", action="store_true")
    parser.add_argument("--csv", type=Path, help="also write one row a run to this file")
    arguments = parser.parse_args()
    everything = configs(arguments.trial, arguments.seeds, arguments.outputs)
    planned = [(name, config) for name, config in everything if arguments.only in name]
    if not arguments.table_only:
        from unlearn.runner.run import run

        for name, config in planned[arguments.part]:
            try:
                record = run(config).record
                print(name, config.seed, record["accuracy"]["unlearned"]["test"], flush=True)
            except UnlearnError as error:
                print(f"{name}, seed {config.seed}: failed: {error}", flush=True)
    rows = []
    for name, config in planned:
        _, directory = place(config)
        if read(directory) is not None:
            rows.append({"row": name, **row(directory / RECORD)})
    if not rows:
        parser.error(f"{arguments.outputs} holds no record of these rows")
    runs = pd.DataFrame(rows)
    if arguments.csv is not None:
        shown = ["row", "dataset", "model", "method", "forget", "seed", "status", *FIGURES]
        runs[shown].to_csv(arguments.csv, index=False)
    print(markdown(pivot(runs, ["row"], [], FIGURES_SHOWN)))


if __name__ == "__main__":
    main()
