"""Print residue, damage and equivalence of unlearned networks; see docs/concepts/yardstick.md.

    unlearn -m evaluation=yardstick method=regrow,gkt forget=[0],[1] seed=0,1,2
    python scripts/yardstick.py outputs --csv yardstick.csv

The input is folders of runs, or CSV files that `--runs-csv` of this program wrote. The output is a
Markdown table with a line for each class, and one for the mean over the classes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from unlearn.errors import ConfigError, exit_on_error
from unlearn.report.formats.markdown import write
from unlearn.report.notes import as_lines, remarks
from unlearn.report.options import add, write_runs, write_text
from unlearn.report.pivot import format_mean, natural
from unlearn.report.runs import DAGGER, as_text, check_keys, load, only
from unlearn.statistics import compute_equivalence, half_width

# Margins of equivalence, fixed before the first run: by figure, and those of single data sets.
MARGINS = {"D_r - retrained": 0.5, "probe excess": 3.0, "JS excess": 0.03}
MARGINS_OF = {"digits": {"D_r - retrained": 1.0}}
ALPHA = 0.05  # of each one-sided test
ENOUGH = 6  # distinct retrained networks of a class

# Audit numbers of a network, by the names that they have here.
NUMBERS = {
    "D_r": "accuracy/retain",
    "D_f": "accuracy/forget",
    "probe": "class_probe/forget",
    "JS": "divergence/forget",
    "concentration": "concentration/forget",
    "JS retain": "divergence/retain",
    "probe retain": "class_probe/retain",
}
RESIDUE = ["probe", "JS", "concentration"]
DAMAGE = ["D_r", "JS retain", "probe retain"]
# Numbers that depend on no other network: those of one network are the same in all runs.
ALONE = ["D_r", "probe", "concentration", "probe retain"]
MOST_REFERENCES = 20
NETWORKS = ("original", "masked", "retrained")  # rows beside those of the methods
FIRST = (*(f"{name} network" for name in NETWORKS), "regrow_oracle", "regrow_scratch")
STATUS = {"runs": "complete", "failed": "failed", "unfinished": "unfinished"}
KEYS = ("dataset", "model", "method")
FIGURES = {  # and digits after the decimal point
    "D_r": 2,
    "D_r - retrained": 2,
    "D_f": 2,
    "probe": 2,
    "probe excess": 2,
    "JS excess": 3,
    "concentration excess": 3,
    "residue": 2,
    "damage": 2,
    "AIN": 2,
    "s": 1,
    "s / retraining": 3,
}
MEAN = "mean"
EXPLAINED = (
    "Mean ± 95% confidence interval (Student's t, one value a seed) over complete runs, test set. "
    "Residue and damage are the largest |z| against the distinct retrained networks of the class. "
    "Equivalent: D_r - retrained, probe excess and JS excess lie in their margins (TOST, 5%)."
)


def paths(who: str) -> dict[str, str]:
    """The dotted path in a record of each of `NUMBERS`, for a network such as `retrained`."""
    return {name: f"audits.{path}.{who}" for name, path in NUMBERS.items()}


EVERY_PATH = [
    path
    for who in ("unlearned", *NETWORKS, *(f"references.{i}" for i in range(MOST_REFERENCES)))
    for path in paths(who).values()
]


def numbers_of(runs: pd.DataFrame, who: str) -> pd.DataFrame:
    """The numbers of one network of each run; columns `NUMBERS`, NaN where there is none."""
    found = paths(who)
    table = runs.reindex(columns=list(found.values())).astype(float)
    return table.set_axis(list(found), axis=1)


def pool_retrained(runs: pd.DataFrame) -> pd.DataFrame:
    """The distinct retrained networks of all runs, one row each.

    A network is known by the seed of its training. A network that several runs measured counts
    once; the run whose own retrained network it is comes first. Networks with equal numbers are
    one.

    Args:
        runs: complete runs of one board.

    Returns:
        The columns `forget` and `NUMBERS`.
    """
    seeds = runs.get("training.seed", runs["seed"]).fillna(runs["seed"]).astype(int)
    found = []
    for offset in range(1 + MOST_REFERENCES):
        numbers = numbers_of(runs, f"references.{offset - 1}" if offset else "retrained")
        numbers = numbers.assign(forget=runs["forget"], network=seeds + offset)
        found.append(numbers.dropna(subset=list(NUMBERS), how="all"))
    networks = pd.concat(found).drop_duplicates(["forget", "network"])
    equal = networks[["forget", *ALONE]].round(4).duplicated()
    return networks[~equal].drop(columns="network")


def score(measured: pd.DataFrame, networks: pd.DataFrame, *, left_out: bool) -> pd.DataFrame:
    """The z of networks against the retrained networks of their class.

    The standard deviation is pooled over the classes.

    Args:
        measured: the columns `forget` and `NUMBERS`.
        networks: as `pool_retrained` gives them.
        left_out: whether the measured networks are among `networks`; each is then compared with
            the mean of the others.

    Returns:
        The columns `NUMBERS`, with the index of `measured`. A number that equals the mean has a z
        of 0 even where the standard deviation is 0.
    """
    names, groups = list(NUMBERS), networks.groupby("forget")[list(NUMBERS)]
    freedom = groups.count() - 1
    squares = (groups.var() * freedom).sum(min_count=1)
    deviation = (squares / freedom.clip(lower=0).sum()) ** 0.5
    means, count = (
        table.reindex(measured["forget"]).to_numpy() for table in (groups.mean(), groups.count())
    )
    distance = measured[names].to_numpy() - means
    with np.errstate(divide="ignore", invalid="ignore"):
        if left_out:
            distance = distance * count / (count - 1)
        z = np.where(np.isclose(distance, 0), 0.0, distance / deviation.to_numpy())
    return pd.DataFrame(z, measured.index, names)


def measure(runs: pd.DataFrame, who: str, networks: pd.DataFrame) -> pd.DataFrame:
    """The figures of one network of each run.

    Args:
        runs: complete runs of one board.
        who: the network: `unlearned` or one of `NETWORKS`.
        networks: as `pool_retrained` gives them.

    Returns:
        The columns `FIGURES` and the z of `RESIDUE` and `DAMAGE`, with the index of `runs`.
    """
    numbers, retrained = numbers_of(runs, who), numbers_of(runs, "retrained")
    z = score(numbers.assign(forget=runs["forget"]), networks, left_out=who == "retrained")
    names = {name: f"{name} excess" for name in RESIDUE} | {"D_r": "D_r - retrained"}
    excess = (numbers - retrained).rename(columns=names)
    if who == "retrained":
        excess[:] = float("nan")  # 0 by definition
    found = numbers[["D_r", "D_f", "probe"]].join(excess.drop(columns="D_f"))
    found["residue"] = z[RESIDUE].abs().max(axis=1, skipna=False)
    found["damage"] = z[DAMAGE].abs().max(axis=1, skipna=False)
    if who == "unlearned":
        found["AIN"], found["s"] = runs["AIN"], runs["s"]
        found["s / retraining"] = runs["s"] / runs["retrained s"]
    return found.reindex(columns=[*FIGURES]).join(z[[*RESIDUE, *DAMAGE]].add_prefix("z "))


def summarise(values: pd.DataFrame, dataset: str) -> tuple[dict[str, object], dict[str, str]]:
    """One line of the table: as numbers for the CSV file, and as text.

    Args:
        values: one row a seed; the columns that `measure` returns.
        dataset: name of the data set, which chooses the margins.
    """
    numbers: dict[str, object] = {}
    for name, column in values.items():
        known = column.dropna().to_numpy()
        numbers[str(name)] = known.mean() if len(known) else None
        numbers[f"{name} ±"] = half_width(known) if len(known) > 1 else None
    margins = MARGINS | MARGINS_OF.get(dataset, {})
    p = [compute_equivalence(values[name].dropna().to_numpy(), m) for name, m in margins.items()]
    numbers |= {f"{name} TOST p": value for name, value in zip(margins, p, strict=True)}
    verdict = "-" if None in p else "yes" if all(v is not None and v < ALPHA for v in p) else "no"
    text = {name: format_mean(values[name], digits) for name, digits in FIGURES.items()}
    return numbers | {"equivalent": verdict}, text | {"equivalent": verdict}


def tabulate(runs: pd.DataFrame, rows: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The table as numbers and as text: lines for each class and for the mean over the classes.

    Runs that differ in keys of the method or of the filter share their retrained networks. Those
    that differ in other row keys do not.

    Args:
        runs: as `load` gives them.
        rows: config keys, those of `KEYS` first; each combination of values makes lines.
    """
    texts = runs.assign(**{key: runs[key].map(as_text) for key in {*rows, "forget"}})
    board = [key for key in rows if not key.startswith(("method", "filter"))]
    numbers, text = {}, {}
    for (dataset, *_), group in texts.groupby(board):
        complete = group[group["status"] == "complete"]
        networks = pool_retrained(complete)
        parts = [(group, measure(complete, "unlearned", networks))]
        audited = complete[numbers_of(complete, "retrained").notna().any(axis=1)]
        once = audited.drop_duplicates(["forget", "seed"]).assign(oracle=False)
        for who in NETWORKS if len(once) else ():
            named = {key: "" for key in rows if key not in board} | {"method": f"{who} network"}
            parts.append((once.assign(**named), measure(once, who, networks)))
        distinct = networks.groupby("forget").size()
        for part, figures in parts:
            for name, own in part.groupby(list(rows)):
                for forget, line, values in split_classes(own, figures):
                    few = distinct.reindex(line["forget"].unique(), fill_value=0).min()
                    counts, cells = count(line, few), summarise(values, str(dataset))
                    numbers[*name, forget] = counts[0] | cells[0]
                    text[*name, forget] = counts[1] | cells[1]
    order = sorted(numbers, key=lambda name: rank([*map(str, name)], rows, board))
    index = pd.MultiIndex.from_tuples(order, names=[*rows, "forget"])
    found, shown = (pd.DataFrame([table[n] for n in order], index) for table in (numbers, text))
    empty = [name for name in ("failed", "unfinished") if not found[name].any()]
    return found, shown.drop(columns=empty)


def split_classes(
    runs: pd.DataFrame, figures: pd.DataFrame
) -> Iterator[tuple[str, pd.DataFrame, pd.DataFrame]]:
    """Yield the lines of one row: forget classes, their runs, and figures with a row a seed.

    The last line is the mean over the classes. A seed that lacks a class has NaN there.

    Args:
        runs: of one row, of every status.
        figures: of the complete runs, as `measure` gives them.
    """
    complete = figures.loc[runs.index[runs["status"] == "complete"]]
    values = complete.groupby([runs["forget"], runs["seed"]]).mean()
    for forget, own in runs.groupby("forget"):
        yield str(forget), own, values[values.index.get_level_values("forget") == forget]
    count = runs["forget"].nunique()
    yield MEAN, runs, values.groupby("seed").sum(min_count=count) / count


def count(runs: pd.DataFrame, networks: int) -> tuple[dict[str, object], dict[str, str]]:
    """Runs of a line by status, and distinct retrained networks of a class: numbers and text."""
    few = bool(networks < ENOUGH)
    status = runs["status"].value_counts()
    numbers: dict[str, object] = {k: int(status.get(v, 0)) for k, v in STATUS.items()}
    text = {key: str(number) for key, number in numbers.items()}
    text["runs"] += DAGGER if runs["oracle"].any() else ""
    text["networks"] = f"{networks}{' (fewer than six)' if few else ''}"
    return numbers | {"networks": int(networks), "fewer than six": few}, text


def rank(name: Sequence[str], rows: Sequence[str], board: Sequence[str]) -> list[object]:
    """Sort key of a line: its board, networks and controls first, and the mean last."""
    values = dict(zip([*rows, "forget"], name, strict=True))
    method, forget = values["method"], values["forget"]
    place = FIRST.index(method) if method in FIRST else len(FIRST)
    others = [value for key, value in values.items() if key not in {*board, "forget"}]
    own = [values[key] for key in board]
    return [natural(own), place, natural(others), forget == MEAN, natural([forget])]


def main(words: Sequence[str] | None = None) -> None:
    """Run the command line, or these words in its place; exit 2 if there are no such runs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add(parser, "outputs", "--where", "--output", "--runs-csv")
    add(parser, "--rows", default=[], help=f"keys that make rows besides {', '.join(KEYS)}")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="also write the table as numbers")
    with exit_on_error("yardstick"):
        options = parser.parse_args(words)
        runs = only(load(options.outputs, optional=EVERY_PATH), options.where)
        rows = [*dict.fromkeys([*KEYS, *options.rows])]
        check_keys(runs, "rows", rows)
        options.figures = [path for path in EVERY_PATH if path in runs and runs[path].notna().any()]
        if not options.figures:
            raise ConfigError("outputs", options.outputs[0], "has no run of evaluation=yardstick")
        numbers, text = tabulate(runs, rows)
        said = remarks(runs, [*rows, "forget"], EXPLAINED)
        if runs["censored"].any():
            said.append(f"Censored: in {runs['censored'].sum()} runs, AIN is a lower bound.")
        shown = write(text, as_lines(runs, said))
        write_runs(runs, options, rows)
        if options.csv is not None:
            write_text("csv", options.csv, numbers.to_csv())
        if options.output is not None:
            write_text("output", options.output, shown)
        else:
            sys.stdout.write(shown)


if __name__ == "__main__":
    main()
