"""The commands of many runs, folded into multiruns."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from unlearn.report.sweeps import folded


def commands(**keys: Sequence[object]) -> list[list[str]]:
    """The commands of a full product."""
    return [
        [f"{key}={value}" for key, value in zip(keys, values, strict=True)]
        for values in product(*keys.values())
    ]


def test_a_full_product_is_one_multirun() -> None:
    runs = commands(method=["gkt", "noise"], forget=["[2]", "[10]", "[1,3]"], seed=[1, 0])
    (found,) = folded(runs)
    line = "unlearn -m method=gkt,noise 'forget=[1,3],[2],[10]' seed=0,1"
    assert (found.commands, found.runs, found.whole) == ([line], 12, True)
    assert folded([*runs, runs[0]]) == [found]
    (single,) = folded([["seed=3", "+a.b=null"]])
    assert single.commands == ["unlearn seed=3 +a.b=null"]


def test_what_is_no_product_is_told_in_parts() -> None:
    first, second = commands(a=[1, 2], b=[1, 2]), commands(a=[3], b=[1, 2, 3])
    assert [sweep.commands for sweep in folded([*first, *second])] == [
        ["unlearn -m a=1 b=1,2"],
        ["unlearn -m a=2 b=1,2"],
        ["unlearn -m a=3 b=1,2,3"],
    ]
    assert [sweep.commands[0] for sweep in folded([*first, *commands(a=[1], c=[5, 6])])] == [
        "unlearn -m a=1,2 b=1,2",
        "unlearn -m a=1 c=5,6",
    ]
    diagonal = [[f"a={n}", f"b={n}", f"c={n % 3}"] for n in range(9)]
    (few,) = folded([*diagonal, ["a=0", "b=1", "c=1"]])
    assert (len(few.commands), few.runs, few.whole) == (3, 10, False)
    assert [(sweep.commands, sweep.runs) for sweep in folded([None, None])] == [([], 2)]
