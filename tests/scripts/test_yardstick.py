"""Residue, damage and equivalence from made-up records whose z are known."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from scripts.yardstick import MARGINS, MARGINS_OF, NUMBERS, main
from tests.helpers.paths import DOCS
from tests.helpers.synthetic import put

SEEDS = (0, 1, 2)
REFERENCES = 3
Network = dict[str, float]  # the value of each of `NUMBERS`


def make_retrained(forget: int) -> list[Network]:
    """Six networks of a class: network n is that of seed n. Classes differ in mean and spread."""
    random = np.random.default_rng(forget)
    return [
        {name: 10.0 * (forget + 1) + (forget + 1) * float(random.normal()) for name in NUMBERS}
        for _ in range(SEEDS[-1] + REFERENCES + 1)
    ]


RETRAINED = {forget: make_retrained(forget) for forget in (0, 1)}
MEANS = {forget: pd.DataFrame(networks).mean() for forget, networks in RETRAINED.items()}
SPREAD = (sum(pd.DataFrame(networks).var() for networks in RETRAINED.values()) / 2) ** 0.5


def put_run(
    outputs: Path,
    method: str,
    forget: int,
    seed: int,
    student: Network,
    original: Network | None = None,
    **changes: Any,
) -> None:
    """A run whose audits found these numbers.

    The divergence of a retrained network depends on its peers. In the runs where it is a further
    reference it is therefore 9 more.
    """
    networks = RETRAINED[forget]
    audits = {}
    for name, path in NUMBERS.items():
        more = 9.0 if name.startswith("JS") else 0.0
        references = networks[seed + 1 : seed + 1 + REFERENCES]
        audits[path] = {
            "unlearned": student[name],
            "retrained": networks[seed][name],
            "references": [
                one[name] + (more if seed + 1 + offset in SEEDS else 0.0)
                for offset, one in enumerate(references)
            ],
            "original": (original or student)[name],
            "masked": None if original is None else original[name] + 1,
        }
    changes = {"status": "complete", "config": {}, **changes}
    changes["config"] |= {"method.name": method}
    put(
        outputs,
        forget=[forget],
        seed=seed,
        at={"seconds.retrained": 30.0, **changes.pop("at", {})},
        audits=audits,
        **changes,
    )


def shift(forget: int, **z: float) -> Network:
    """A network that lies z standard deviations from the mean of the retrained networks."""
    return {name: MEANS[forget][name] + z.get(name, 0.0) * SPREAD[name] for name in NUMBERS}


def tabulate(capsys: pytest.CaptureFixture[str], *words: str | Path) -> dict[tuple[str, ...], Any]:
    """The lines of the CSV file by method and class, and the Markdown table under `()`."""
    file = Path(words[0]).parent / "table.csv"
    main([*map(str, words), "--csv", str(file)])
    with file.open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    found: dict[tuple[str, ...], Any] = {(row["method"], row["forget"]): row for row in rows}
    assert len(found) == len(rows)
    return found | {(): capsys.readouterr().out}


def put_method(outputs: Path, method: str, seeds: Iterable[int] = SEEDS, **z: float) -> None:
    for forget in (0, 1):
        for seed in seeds:
            put_run(outputs, method, forget, seed, shift(forget, **z), shift(forget, probe=8.0))


def test_residue_and_damage_are_the_largest_z(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    put_method(runs, "gkt", probe=2, JS=-3, concentration=1, D_r=-1, **{"probe retain": 4})
    put_method(runs, "noise", concentration=5, D_f=9, **{"JS retain": -2})
    found = tabulate(capsys, runs)
    for method, residue, damage in (("gkt", 3, 4), ("noise", 5, 2)):
        for forget in ("0", "1", "mean"):
            row = found[method, forget]
            assert float(row["residue"]) == pytest.approx(residue)
            assert float(row["residue ±"]) == pytest.approx(0, abs=1e-6)
            assert float(row["damage"]) == pytest.approx(damage)
            assert row["networks"] == "6"
            assert row["fewer than six"] == "False"
    assert float(found["gkt", "1"]["z JS"]) == pytest.approx(-3)
    assert float(found["original network", "0"]["residue"]) == pytest.approx(8)
    masked = max(8 + 1 / SPREAD["probe"], 1 / SPREAD["JS"], 1 / SPREAD["concentration"])
    assert float(found["masked network", "0"]["residue"]) == pytest.approx(masked)
    assert float(found["gkt", "0"]["s / retraining"]) == pytest.approx(3 / 30)
    assert "fewer than six" not in found[()]


def test_a_retrained_network_is_compared_with_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put_method(tmp_path / "runs", "gkt")
    row = tabulate(capsys, tmp_path / "runs")["retrained network", "1"]
    z = []
    for seed in SEEDS:
        others = pd.DataFrame(RETRAINED[1]).drop(index=seed).mean()
        z.append((RETRAINED[1][seed]["probe"] - others["probe"]) / SPREAD["probe"])
    assert float(row["z probe"]) == pytest.approx(np.mean(z))
    assert (row["probe excess"], row["equivalent"]) == ("", "-")


def test_differences_are_one_value_a_seed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A seed that lacks a class has no mean over the classes, and the failed run is counted."""
    runs = tmp_path / "runs"
    put_method(runs, "gkt", seeds=(0, 1), probe=2)
    put_run(runs, "gkt", 0, 2, shift(0, probe=3))
    put(runs, forget=[1], seed=2, status="failed", error="NaN loss")
    found = tabulate(capsys, runs)
    excess = np.array(
        [
            [shift(c, probe=z)["probe"] - RETRAINED[c][seed]["probe"] for c in (0, 1)]
            for seed, z in zip(SEEDS, (2, 2, 3), strict=True)
        ]
    )
    mean = excess[:2].mean(axis=1)
    for forget, values in (("0", excess[:, 0]), ("1", excess[:2, 1]), ("mean", mean)):
        half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
        row = found["gkt", forget]
        assert float(row["probe excess"]) == pytest.approx(values.mean())
        assert float(row["probe excess ±"]) == pytest.approx(half)
    assert [found["gkt", f]["failed"] for f in ("0", "1", "mean")] == ["0", "1", "1"]
    assert [found["gkt", f]["runs"] for f in ("0", "1", "mean")] == ["3", "2", "5"]
    assert "NaN loss" in found[()]
    # Class 1 has the networks of seeds 0 to 4, class 0 those of seeds 0 to 5.
    assert [found["gkt", f]["networks"] for f in ("0", "1", "mean")] == ["6", "5", "5"]
    assert "5 (fewer than six)" in found[()]


def test_equal_networks_are_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Three seeds of training.seed=0 share four networks; seeds 0 and 1 of another lot are one."""
    config = {"training.seed": 0}
    for seed in SEEDS:
        put_run(tmp_path / "fixed", "gkt", 0, seed, shift(0), config=dict(config))
    assert tabulate(capsys, tmp_path / "fixed")["gkt", "0"]["networks"] == "4"
    for seed in SEEDS:
        twin = {
            f"audits.{path}.retrained": RETRAINED[0][0][name]
            for name, path in NUMBERS.items()
            if seed == 1
        }
        put_run(tmp_path / "twins", "gkt", 0, seed, shift(0), at=twin)
    assert tabulate(capsys, tmp_path / "twins")["gkt", "0"]["networks"] == "5"


@pytest.mark.parametrize(
    ("dataset", "offsets", "verdict"),
    [
        ("cifar10", {"D_r": 0.2, "probe": 1.0, "JS": 0.01}, "yes"),
        ("cifar10", {"D_r": 0.2, "probe": 1.0, "JS": 0.04}, "no"),
        ("cifar10", {"D_r": 0.2, "probe": -3.5, "JS": 0.01}, "no"),
        ("cifar10", {"D_r": -0.7, "probe": 1.0, "JS": 0.01}, "no"),
        ("digits", {"D_r": -0.7, "probe": 1.0, "JS": 0.01}, "yes"),
    ],
)
def test_equivalence(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    dataset: str,
    offsets: dict[str, float],
    verdict: str,
) -> None:
    """The 90% interval of the mean lies inside the margin if and only if p is below 5%."""
    noise = (-0.05, 0.0, 0.05)
    for seed in SEEDS:
        own = RETRAINED[0][seed]
        student = {n: v + offsets.get(n, 0) * (1 + noise[seed]) for n, v in own.items()}
        config = {"dataset.name": dataset}
        put_run(tmp_path / "runs", "gkt", 0, seed, student, dataset=dataset, config=config)
    row = tabulate(capsys, tmp_path / "runs")["gkt", "0"]
    assert row["equivalent"] == verdict
    values = np.array([offsets["D_r"] * (1 + more) for more in noise])
    t = (0.5 - abs(values.mean())) / stats.sem(values)
    if dataset != "digits":
        assert float(row["D_r - retrained TOST p"]) == pytest.approx(stats.t.sf(t, 2))


def test_boards_have_their_own_networks_and_controls_come_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Runs of two checkpoints: the original network of each is its own."""
    for checkpoint, z in (("a.pt", 8.0), ("b.pt", 4.0)):
        for method in ("gkt", "regrow_scratch", "regrow_oracle", "regrow"):
            put_run(
                *(tmp_path / "runs", method, 0, 0, shift(0), shift(0, probe=z)),
                config={"model.checkpoint": checkpoint},
            )
    words = ["--rows", "model.checkpoint", "--runs-csv", str(tmp_path / "runs.csv")]
    file = tmp_path / "table.csv"
    main([str(tmp_path / "runs"), *words, "--csv", str(file)])
    table = pd.read_csv(file)
    order = ["original network", "masked network", "retrained network"]
    order += ["regrow_oracle", "regrow_scratch", "gkt", "regrow"]
    for checkpoint, z in (("a.pt", 8.0), ("b.pt", 4.0)):
        own = table[(table["model.checkpoint"] == checkpoint) & (table["forget"] != "mean")]
        assert own["method"].tolist() == order
        assert set(own["networks"]) == {4}
        four = pd.DataFrame(RETRAINED[0][:4])
        expected = (shift(0, probe=z)["probe"] - four["probe"].mean()) / four["probe"].std()
        assert own["z probe"].iloc[0] == pytest.approx(expected)
    first = capsys.readouterr().out
    main([str(tmp_path / "runs.csv"), "--rows", "model.checkpoint", "--csv", str(file)])
    pd.testing.assert_frame_equal(pd.read_csv(file), table)
    assert capsys.readouterr().out == first, "the published CSV file says what the records say"


def test_runs_without_the_audits_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path / "runs")
    with pytest.raises(SystemExit) as stop:
        main([str(tmp_path / "runs")])
    assert stop.value.code == 2
    assert "evaluation=yardstick" in capsys.readouterr().err


def test_the_margins_are_those_that_were_fixed() -> None:
    """As written down before the first run, and as the page says."""
    assert MARGINS == {"D_r - retrained": 0.5, "probe excess": 3.0, "JS excess": 0.03}
    assert MARGINS_OF == {"digits": {"D_r - retrained": 1.0}}
    page = (DOCS / "concepts" / "yardstick.md").read_text()
    lines = re.findall(r"^\| (.+) \| ±([\d.]+) \w+ \| ±([\d.]+) \w+ \|$", page, re.MULTILINE)
    assert {name: float(value) for name, value, _ in lines} == MARGINS
    assert {name: float(value) for name, _, value in lines} == MARGINS | MARGINS_OF["digits"]
