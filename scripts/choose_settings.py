"""Choose the settings of a method for a data set and network from those that were tried.

    python scripts/choose_settings.py docs/results/tuned.csv

The input is a folder of runs, or a CSV file of `unlearn-report --runs-csv` with columns method.KEY.
A try is a method with one choice of these keys. Its score is the mean of D_r - D_f over the forget
classes, in percentage points; a failed run counts -100. The best try is written by hand to
conf/tuned/DATASET/MODEL/METHOD.yaml if its score is at least one point above that of the method's
default settings. Tries that lack one of the classes are not compared.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from unlearn.errors import ConfigError, exit_on_error
from unlearn.report.formats.markdown import write
from unlearn.report.runs import load

_CONF = Path(__file__).parent.parent / "conf"
_BETTER = 1.0  # points above the default settings that tuned settings need
_FAILED = -100.0


def keys(tries: pd.DataFrame) -> list[str]:
    """The keys of the method among the columns, without `method.`."""
    columns = [str(name) for name in tries.columns]
    return [name.removeprefix("method.") for name in columns if name.startswith("method.")]


def own_settings(dataset: str, model: str, method: str) -> DictConfig:
    """The config of a method without conf/tuned."""
    chosen = [f"dataset={dataset}", f"model={model}", f"method={method}", "~tuned"]
    with initialize_config_dir(str(_CONF), version_base="1.3"):
        config: DictConfig = compose("config", chosen).method
    return config


def _named(values: pd.Series) -> str:
    return ", ".join(f"{key}={value:g}" for key, value in values.dropna().items())


def scores(tries: pd.DataFrame) -> pd.Series:
    """The score of every try that has all forget classes, the best first.

    Args:
        tries: runs of one method on one data set and network.
    """
    settings = pd.DataFrame({key: tries[f"method.{key}"] for key in keys(tries)})
    score = (tries["D_r"] - tries["D_f"]).where(tries["status"] == "complete", _FAILED)
    grid = score.groupby([settings.apply(_named, axis=1), tries["forget"]]).mean().unstack()
    return grid.dropna().mean(axis=1).sort_values(ascending=False)


def choose(tries: pd.DataFrame) -> pd.DataFrame:
    """Choose settings for each data set, network and method that has more than one try.

    Args:
        tries: as `runs.load` gives them, with the columns method.KEY.

    Returns:
        A frame of text with a row for each: the default settings and their score, the settings
        taken and theirs, the number of tries, and the classes.

    Raises:
        ConfigError: if a method was not tried with its default settings on every class.
    """
    rows = {}
    for (dataset, model, method), group in tries.groupby(["dataset", "model", "method"]):
        scored = scores(group)
        config = own_settings(str(dataset), str(model), str(method))
        own = _named(pd.Series({key: config.get(key) for key in keys(tries)}, dtype=float))
        if own not in scored.index:
            whose = f"{dataset}/{model}/{method}"
            raise ConfigError(whose, own or "null", "the default settings were not tried")
        if len(scored) == 1:
            continue
        best = scored.index[0] if scored.iloc[0] >= scored[own] + _BETTER else own
        rows[dataset, model, method] = {
            "default settings": own,
            "default score": f"{scored[own]:.1f}",
            "chosen": "default" if best == own else best,
            "chosen score": f"{scored[best]:.1f}",
            "tries": str(len(scored)),
            "classes": ", ".join(map(str, sorted(group["forget"].unique()))),
        }
    index = pd.MultiIndex.from_tuples(rows, names=["dataset", "model", "method"])
    return pd.DataFrame(list(rows.values()), index=index)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("outputs", type=Path, nargs="+", help="folders of runs, or CSV files")
    arguments = parser.parse_args()
    with exit_on_error("choose_settings"):
        print(write(choose(load(arguments.outputs)), ""), end="")


if __name__ == "__main__":
    main()
