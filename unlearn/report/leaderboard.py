"""The leaderboard: methods ranked among those of the same access to real data."""

from __future__ import annotations

from collections import Counter

import pandas as pd

from unlearn.report.notes import remarks
from unlearn.report.pivot import format_mean
from unlearn.report.runs import DAGGER, TOLD

KEYS = ("dataset", "model", "access", "rank", "method")
ACCESS = ("none", "oracle", "forget", "retain", "all")
SEEDS = 5  # that an entry needs
_FIRST, _LAST = "retrain", "original"  # references, which have no rank
_UNKNOWN = "-"
_ON_GPU = "GPU MiB"
_USELESS = "collapse|no change"  # alarms
_HALF = 0.5
# Figures that are no larger between two retrained networks than their floor.
_FLOORS = {"probe max": "probe max floor", "JS forget": "JS floor", "MIA gap": "MIA floor"}
_EXCESSES = {"probe excess": "probe max", "JS excess": "JS forget", "MIA excess": "MIA gap"}

_BY_TOLD = (
    "the share of those audits that can tell the original or the masked network from retrained "
    "ones (see the calibration) that lie inside the spread of retrained networks"
)
_BY_AUDITS = "the share of audits that do"
_BY_FIGURES = (
    "the share of figures (probe, divergence, membership, relearning) that lie inside the spread "
    "of retrained networks over the board's seeds"
)


def leaderboard(runs: pd.DataFrame) -> pd.DataFrame:
    """A row for each method, in a board for each data set and model.

    Within a board methods stand by access, from none to all, and there by rank: those half of
    whose runs collapsed or changed nothing after the others; then by the share of audits that lie
    inside the spread of retrained networks, of those that can tell networks apart where the runs
    say (`TOLD`); then by the distance of D_r to the retrained model's. Equal ones share a rank.
    `retrain` comes first and `original` last; they, and methods without a finished run, have no
    rank.

    Args:
        runs: as `runs.load` gives them, with `TOLD` where there are records with audits.

    Returns:
        A frame of text, `KEYS` its index. Figures are means with their 95% confidence interval
        over the seeds, each the mean over its classes.
    """
    classed = runs.assign(access=_access(runs))
    table = pd.concat([_board(part) for _, part in classed.groupby(["dataset", "model"])])
    if (table[_ON_GPU] == _UNKNOWN).all():
        table = table.drop(columns=_ON_GPU)
    return table.set_index(list(KEYS))


def describe_ranking(runs: pd.DataFrame) -> list[str]:
    """Sentences on how the board is ranked, and on what falls short of an entry."""
    classed = runs.assign(access=_access(runs))
    complete = classed[classed["status"] == "complete"]
    boards = [part for _, part in complete.groupby(["dataset", "model"])]
    ways = [_BY_TOLD]
    if not all(_known(board, TOLD) for board in boards):
        ways += [_BY_AUDITS]
    if not all(_known(board, "audits inside") for board in boards):
        ways += [_BY_FIGURES]
    share = "; on a board where some runs have none, by ".join(ways)
    first = (
        f"Ranked among methods of the same access by {share}, then by the distance of D_r to the "
        "retrained model's; methods half of whose runs collapsed or changed nothing (see the "
        "alarms) come after the others. Mean ± 95% confidence interval (Student's t) over seeds, "
        "each the mean of its classes, test set. An excess is what a figure is above that of two "
        "retrained networks."
    )
    return [*remarks(classed, ["dataset", "model", "method", "access"], first), *_short(complete)]


def _short(complete: pd.DataFrame) -> list[str]:
    """What has too few seeds, or lacks runs that others on its board have."""
    few, uneven = [], []
    for (dataset, model), board in complete.groupby(["dataset", "model"]):
        whole = len(board[["forget", "seed"]].drop_duplicates())
        for (_, method), own in board.groupby(["access", "method"]):
            name = f"{method} ({dataset}, {model})"
            if own["seed"].nunique() < SEEDS:
                few.append(name)
            if len(own[["forget", "seed"]].drop_duplicates()) < whole:
                uneven.append(name)
    lines = [f"Fewer than the {SEEDS} seeds of an entry: {', '.join(few)}."] if few else []
    said = f"Lack classes or seeds that others have: {', '.join(uneven)}."
    return [*lines, said] if uneven else lines


def _access(runs: pd.DataFrame) -> pd.Series:
    """The class in which a run competes; that of its method where it failed before it began."""
    steered = (runs["access"] == "none") & runs["oracle"].astype(bool)
    access = runs["access"].mask(steered, "oracle")
    known = access.groupby(runs["method"]).transform("first")
    return access.fillna(known).fillna(_UNKNOWN)


def _known(board: pd.DataFrame, figure: str) -> bool:
    return figure in board and bool(board[figure].notna().all())


def _share(board: pd.DataFrame) -> pd.Series:
    """Of each run, what it is ranked by."""
    for figure in (TOLD, "audits inside"):
        if _known(board, figure):
            return board[figure]
    return _inside_spread(board)


def _board(board: pd.DataFrame) -> pd.DataFrame:
    """The rows of one data set and model in their order, with the columns of `KEYS`."""
    scored = _scored(board[board["status"] == "complete"])
    lines, orders = [], []
    for (access, method), own in board.groupby(["access", "method"]):
        done = scored.loc[own.index[own["status"] == "complete"]]
        label = f"{method}{DAGGER}" if own["oracle"].any() else str(method)
        keys = own[["dataset", "model"]].iloc[0].to_dict() | {"access": access, "method": label}
        lines.append(keys | _cells(own, done))
        orders.append(_order(str(access), label, done))
    order = pd.DataFrame(orders)
    ranked = order[(order["end"] == 0) & (order["gap"] < float("inf"))]
    places = ranked.groupby(["useless", "inside", "gap"]).ngroup()
    ranks = places.groupby(ranked["class"]).rank(method="min").map("{:.0f}".format)
    table = pd.DataFrame(lines).assign(rank=ranks.reindex(order.index).fillna(_UNKNOWN))
    return table.loc[order.sort_values([*order.columns]).index]


def _scored(complete: pd.DataFrame) -> pd.DataFrame:
    """The complete runs, with the figures that only the leaderboard has."""
    derived = {name: complete[f] - complete[_FLOORS[f]] for name, f in _EXCESSES.items()}
    derived["inside %"] = 100 * _share(complete)
    derived["all audits %"] = 100 * complete["audits inside"]
    derived["D_r - retrained"] = complete["D_r"] - complete["retrained D_r"]
    derived["× retraining"] = complete["s"] / complete["retrained s"]
    return pd.concat([complete, pd.DataFrame(derived)], axis=1)


def _order(access: str, method: str, done: pd.DataFrame) -> dict[str, int | float | str]:
    """What a method is ordered by, the first first; what is not known is infinite.

    Args:
        access: of the method.
        method: its label.
        done: its complete runs, as `_scored` gives them.
    """
    alarmed = done["alarms"].str.contains(_USELESS)
    inside, gap = done.groupby("seed")[["inside %", "D_r - retrained"]].mean().mean()
    return {
        "end": {_FIRST: -1, _LAST: 1}.get(method, 0),
        "class": ACCESS.index(access) if access in ACCESS else len(ACCESS),
        "useless": int(len(done) > 0 and alarmed.mean() >= _HALF),
        "inside": float("inf") if inside != inside else -round(float(inside), 1),
        "gap": float("inf") if gap != gap else round(abs(float(gap)), 2),
        "method": method,
    }


def _inside_spread(complete: pd.DataFrame) -> pd.Series:
    """The share of a run's figures that retrained networks of its classes reach, over all seeds."""
    classes = complete.groupby("forget")
    found = {}
    for figure, floor in _FLOORS.items():
        most = classes[floor].transform("max")
        known = complete[figure].notna() & most.notna()
        found[figure] = (complete[figure] <= most).where(known)
    steps = classes["retrained relearn"]
    low, high = steps.transform("min"), steps.transform("max")
    known = complete["relearn"].notna() & low.notna()
    found["relearn"] = complete["relearn"].between(low, high).where(known)
    return pd.DataFrame(found).astype(float).mean(axis=1)


def _cells(own: pd.DataFrame, done: pd.DataFrame) -> dict[str, str]:
    """A row's text, from all its runs and from the finished ones."""

    def over_seeds(name: str, digits: int = 2) -> str:
        return format_mean(done.groupby("seed")[name].mean(), digits)

    cells = {"runs": str(len(done)), "failed": str((own["status"] == "failed").sum())}
    cells |= {name: over_seeds(name, 1) for name in ("inside %", "all audits %")}
    cells |= {name: over_seeds(name) for name in ("D_r - retrained", "D_f")}
    cells |= {"worst D_f": _worst(done)}
    cells |= {name: over_seeds(name) for name in ("AIN", *_EXCESSES)}
    cells |= {"s": over_seeds("s", 1), "× retraining": over_seeds("× retraining")}
    for name in ("real images", "added MiB", _ON_GPU):
        mean = done[name].mean()
        cells[name] = _UNKNOWN if mean != mean else f"{mean:.0f}"
    return cells | {"alarms": _alarms(done)}


def _worst(done: pd.DataFrame) -> str:
    """D_f of the class that is forgotten worst, and the class."""
    means = done.groupby("forget")["D_f"].mean().dropna()
    return f"{means.max():.2f} ({means.idxmax()})" if len(means) else _UNKNOWN


def _alarms(done: pd.DataFrame) -> str:
    """How many runs raise each alarm."""
    counts = Counter(name for text in done["alarms"] for name in text.split("; ") if name)
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
