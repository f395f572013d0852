"""Print the paper's tables beside our runs with its settings.

    unlearn experiment=published/mnist dataset.root=DIR
    python scripts/published_tables.py outputs

Only runs with `method.as_published=true` are shown. Runs whose settings differ from those of
`experiment=published/...`, such as shortened ones, get rows of their own that name the differences.
The published settings choose the student by test accuracies (`test-selected`). `last` is the
student at the end of all iterations.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from hydra import compose, initialize_config_dir

from unlearn.config.resolve import resolve_config
from unlearn.errors import ConfigError, exit_on_error
from unlearn.records.history import read_looks
from unlearn.report.options import add, format_table
from unlearn.report.pivot import format_mean, pivot
from unlearn.report.reading import flatten
from unlearn.report.runs import DAGGER, as_text, load, only

PAPER = Path(__file__).with_suffix(".csv")
CONF = Path(__file__).resolve().parent.parent / "conf"
JOINED = ["dataset", "model", "forget", "method"]
KEYS = ["dataset", "model", "forget", "differs in", "method"]
WHOLE = {"allcnn": "allcnn_full"}  # networks whose published size is another option
# Config keys that decide a run's figures, besides data, classes and seed.
DECISIVE = (
    *("dataset.validation", "model.", "training.", "method.", "filter."),
    *("hardware.autocast", "evaluation.every", "evaluation.metrics.relearn."),
)
PAIRS = {  # cells of D_r / D_f
    "original": ("original D_r", "original D_f"),
    "retrained": ("retrained D_r", "retrained D_f"),
    "test-selected": ("selected D_r", "selected D_f"),
    "last": ("last D_r", "last D_f"),
}
FIGURES = [*(name for pair in PAIRS.values() for name in pair), "AIN", "D_r - paper"]


def published(folders: Sequence[Path], paper: pd.DataFrame) -> pd.DataFrame:
    """The runs of the paper's methods with its settings, with the columns `FIGURES` and `KEYS`.

    Args:
        folders: folders of runs.
        paper: the paper's figures, indexed by `JOINED`.

    Raises:
        ConfigError: if there are no such runs.
    """
    runs = only(load(folders), ["method.as_published=true"])
    methods = paper.index.unique("method")
    runs = runs[runs["method"].isin(methods)].reset_index(drop=True)
    if runs.empty:
        raise ConfigError("outputs", folders[0], f"holds no run of {' or '.join(methods)}")
    steered = runs.reindex(columns=["method.selection"]).squeeze(axis=1).eq("oracle")
    own = runs[["D_r", "D_f"]]
    last = pd.DataFrame(
        [last_iterate(Path(directory)) for directory in runs["directory"]], columns=own.columns
    )
    theirs = paper["D_r"].reindex(pd.MultiIndex.from_frame(runs[JOINED])).to_numpy()
    beside = [
        own.where(steered).set_axis(list(PAIRS["test-selected"]), axis=1),
        own.where(~steered, last).set_axis(list(PAIRS["last"]), axis=1),
        pd.DataFrame({"D_r - paper": runs["D_r"] - theirs, "differs in": departures(runs)}),
    ]
    return pd.concat([runs, *beside], axis=1)


def last_iterate(directory: Path) -> tuple[float, float]:
    """D_r and D_f of the last student, before an earlier one was selected."""
    file = directory / "history.parquet"
    seen = pd.read_parquet(file) if file.exists() else pd.DataFrame()
    last = read_looks(seen, "retain", "forget").tail(1)
    return next(last.itertuples(index=False, name=None), (float("nan"), float("nan")))


def departures(runs: pd.DataFrame) -> pd.Series[str]:
    """The values of each run's config that differ from its experiment's, as `key=value, ...`."""
    found = pd.Series("", index=runs.index)
    for (dataset, model, method), group in runs.groupby(["dataset", "model", "method"]):
        wanted = settings(dataset, model, method)
        texts = group.reindex(columns=list(wanted)).map(as_text)
        for index, own in texts.iterrows():
            other = [f"{key}={own[key]}" for key in wanted if own[key] != wanted[key]]
            found[index] = ", ".join(other)
    return found


def settings(dataset: str, model: str, method: str) -> dict[str, str]:
    """The decisive keys of `experiment=published/...` and their values."""
    places = {"experiment": f"published/{dataset}", "model": WHOLE.get(model, model)}
    if not all((CONF / group / f"{name}.yaml").exists() for group, name in places.items()):
        return {"dataset.name": "", "model.name": ""}
    words = [f"{group}={name}" for group, name in (places | {"method": method}).items()]
    values = flatten(resolve_config(compose("config", words), words).plain())
    loose = ("training.seed", "model.checkpoint")
    return {k: as_text(v) for k, v in values.items() if k.startswith(DECISIVE) and k not in loose}


def beside(paper: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The paper's figures beside ours as text, with a row for each setting.

    Args:
        paper: the paper's figures, indexed by `JOINED`.
        runs: as `published` gives them.
    """
    ours = pivot(runs, KEYS, [], FIGURES)
    counts = [name for name in ours if name not in FIGURES]
    ours = ours[counts].join(_cells(ours, "")).join(ours[["AIN", "D_r - paper"]]).reset_index()
    text = paper.map(lambda value: format_mean(pd.Series([value])))
    theirs = _cells(text, "paper ")
    theirs["paper D_r / D_f"] = text["D_r"] + " / " + text["D_f"]
    theirs = theirs.assign(**{"paper AIN": text["AIN"]}).reset_index()
    ours["joined"], theirs["joined"] = ours["method"].str.rstrip(DAGGER), theirs["method"]
    on = [*JOINED[:-1], "joined"]
    table = theirs.merge(ours, how="outer", on=on, suffixes=("", " of ours"))
    table["method"] = table.pop("method of ours").fillna(table["method"])
    table = table.fillna({"runs": "none", "differs in": ""}).fillna("-").drop(columns="joined")
    return table.set_index(KEYS).sort_index()


def _cells(figures: pd.DataFrame, prefix: str) -> pd.DataFrame:
    """Pairs of D_r / D_f in one cell each."""
    return pd.DataFrame(
        {
            f"{prefix}{name}": figures[first] + " / " + figures[second]
            for name, (first, second) in PAIRS.items()
            if first in figures
        }
    )


def main(words: Sequence[str] | None = None) -> None:
    """Run the command line, or these words in its place; exit 2 if there are no such runs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("outputs", type=Path, nargs="+", help="folders that hold run directories")
    add(parser, "--format", default="markdown")
    paper = pd.read_csv(PAPER, comment="#", dtype={"forget": str}).set_index(JOINED)
    with exit_on_error("published_tables"), initialize_config_dir(str(CONF), version_base="1.3"):
        options = parser.parse_args(words)
        runs = published(options.outputs, paper)
    sys.stdout.write(format_table(beside(paper, runs), [], runs, options))


if __name__ == "__main__":
    main()
