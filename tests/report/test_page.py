"""The page: that it says what the table says, shows what the histories hold, and needs no other."""

from __future__ import annotations

import csv
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.helpers.synthetic import MODELS, add_history, add_pictures, put, report, sweep
from unlearn.report.groups import MOST_GROUPS, panels
from unlearn.report.observed import curve
from unlearn.report.runs import load
from unlearn.report.sections import swept

KEYS = ["--rows", "method,filter.entropy", "--columns", "forget"]


class Page(HTMLParser):
    """What a browser would find: cells of tables, addresses, ids, and text by element."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._open.append(tag)
        for name, value in attributes:
            if name in ("src", "href", "xlink:href", "action", "srcset"):
                self.addresses.append(value or "")
            if name == "id":
                self.ids.append(value or "")
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts.setdefault(self._open[-1], []).append(data)
        if {"td", "th"} & set(self._open) and "small" not in self._open:
            self.rows[-1][-1] += data.strip()


def made(outputs: Path, *words: str) -> tuple[str, Page]:
    target = outputs.parent / "report.html"
    done = report("page", outputs, *words, "--output", target)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    text = target.read_text()
    return text, Page(text)


@pytest.fixture(scope="module")
def swept_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    outputs = tmp_path_factory.mktemp("sweep") / "outputs"
    sweep(outputs)
    return outputs


@pytest.fixture(scope="module")
def swept_page(swept_runs: Path) -> tuple[str, Page]:
    return made(swept_runs, *KEYS, "--title", "Entropy & forgetting")


def test_the_page_needs_nothing_else(swept_page: tuple[str, Page]) -> None:
    text, page = swept_page
    assert page.addresses
    assert all(address.startswith(("#", "data:")) for address in page.addresses)
    assert {f"#{name}" for name in page.ids} >= {a for a in page.addresses if a[0] == "#"}
    assert len(page.ids) == len(set(page.ids))
    assert "@import" not in text
    assert re.findall(r"url\((?!#)", text) == []
    assert len(text) < 2**20


def test_the_table_is_that_of_the_other_formats(swept_runs: Path) -> None:
    """And figures have the retrained model's beside them."""
    _, page = made(swept_runs, *KEYS, "--figures", "D_r,AIN")
    figures = ["--figures", "D_r,retrained D_r,AIN"]
    text = report(swept_runs, *KEYS, *figures, "--format", "csv").stdout
    (heading, *lines) = csv.reader(io.StringIO(text))
    blocks, shown, *rows = page.rows
    assert blocks[1:] == ["forget=0", "forget=1"]
    assert [f"{blocks[1 + (i > 5)]} {name}" for i, name in enumerate(shown)][2:] == heading[2:]
    assert rows == lines
    assert len(rows) == 6


def test_charts_name_what_they_show(swept_page: tuple[str, Page]) -> None:
    text, page = swept_page
    labels = re.findall(r'role="img" aria-label="([^"]*)"', text)
    names = ["D_r against iterations", "D_f against iterations", "Retain against forget accuracy"]
    names += [f"{name} against filter.entropy" for name in ("D_r − retrained D_r", "D_f", "AIN")]
    assert {f"{name} forget={forget}" for name in names for forget in (0, 1)} <= set(labels)
    ticks = page.texts["text"]
    assert {"0.5", "1", "off", "iteration (stage transfer)", "D_f, test (%)"} <= set(ticks)
    assert page.texts["h2"].count("Against filter.entropy") == 1


def test_the_page_says_what_made_it(swept_page: tuple[str, Page]) -> None:
    _, page = swept_page
    sweep = "unlearn -m method=gkt,noise 'forget=[0],[1]' seed=0,1,2"
    assert sum(line.startswith(sweep) for line in page.texts["pre"]) >= 4
    command = "--title 'Entropy & forgetting' --output"
    assert sum(command in line for line in page.texts["pre"]) >= 5
    assert page.texts["h1"] == ["Entropy & forgetting"]


def test_any_numeric_key_can_be_an_axis(tmp_path: Path) -> None:
    for start in (0.0, 0.5, 1.0):
        put(tmp_path / "outputs", config={"method.start": start})
    _, page = made(tmp_path / "outputs", "--rows", "method", "--curve", "method.start")
    assert "Against method.start" in page.texts["h2"]
    runs = load([tmp_path / "outputs"])
    assert swept(runs, ["method", "method.start", "filter.gate", "seed"]) == ["method.start"]


def test_a_curve_is_the_mean_over_runs_of_the_last_stage(tmp_path: Path) -> None:
    looks = np.array([[4.0, 3.0, 1.0], [8.0, 0.0, 0.5], [6.0, 1.0, 0.2]])
    for seed, forget in enumerate(looks):
        add_history(put(tmp_path, seed=seed), forget)
    put(tmp_path, seed=3)  # has no history
    (panel,) = panels(load([tmp_path]), ["method"], []).drawn
    found = curve(panel.groups[0])
    assert found is not None
    assert (found.runs, found.stages) == (3, {"transfer"})
    assert list(found.forget.index) == [2, 4, 6]
    half = stats.sem(looks) * stats.t.ppf(0.975, 2)
    np.testing.assert_allclose(found.forget["mean"], looks.mean(axis=0))
    np.testing.assert_allclose(found.forget["half"], half)
    np.testing.assert_allclose(found.retain["mean"], [90, 91, 92])


def test_a_damaged_history_is_named_and_the_others_are_drawn(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    good = put(outputs, seed=0)
    add_history(good, [5.0, 1.0])
    whole = (good / "history.parquet").read_bytes()
    words = {"stage": ["x"], "step": ["two"], "retain": ["a"], "forget": ["b"]}
    pd.DataFrame(words).to_parquet(tmp_path / "words")
    middle = len(whole) // 2
    contents = [
        *(
            b"",
            b"not parquet",
            whole[:middle],
            b"\0" * len(whole),
            (tmp_path / "words").read_bytes(),
        ),
        *(whole[:end] + b"\xff" * 40 + whole[end + 40 :] for end in (4, len(whole) - 60)),
    ]
    bad = [put(outputs, seed=seed) / "history.parquet" for seed in range(1, 1 + len(contents))]
    for path, content in zip(bad, contents, strict=True):
        path.write_bytes(content)
    blind = put(outputs, seed=99) / "history.parquet"  # nobody looked at the student
    pd.DataFrame({"stage": ["transfer"], "step": [1], "loss": [0.5]}).to_parquet(blind)
    target = tmp_path / "report.html"
    done = report("page", outputs, "--output", target)
    assert done.returncode == 0
    assert [path for path in bad if str(path) not in done.stderr] == []
    assert str(blind) not in done.stderr
    assert f"{len(bad) + 1} runs have no history of accuracies." in target.read_text()


def test_groups_are_those_of_the_table(tmp_path: Path) -> None:
    for forget in range(10):
        for start in (0.5, 0.25):
            access = "oracle" if forget == 1 else "none"
            put(tmp_path, forget=[forget], config={"method.start": start}, access=access)
    put(tmp_path, forget=[0], status="failed", config={"method.start": 0.5})
    drawn = panels(load([tmp_path]), ["method", "forget"], ["method.start"])
    assert [panel.title for panel in drawn.drawn] == ["method.start=0.25", "method.start=0.5"]
    labels = ["forget=0", "forget=1†", *(f"forget={c}" for c in range(2, MOST_GROUPS))]
    for panel in drawn.drawn:
        assert [group.label for group in panel.groups] == labels
        assert [len(group.runs) for group in panel.groups] == [1] * MOST_GROUPS
        assert sorted(panel.others["forget"]) == [str(c) for c in range(MOST_GROUPS, 10)]
    assert drawn.limits()[0] == f"The first {MOST_GROUPS} of 10 groups are drawn."


def test_pictures_are_embedded_and_few(swept_page: tuple[str, Page], tmp_path: Path) -> None:
    image = '<img src="data:image/png;base64,'
    assert swept_page[0].count(image) == 12  # of six runs
    put(tmp_path / "outputs", seed=0)
    add_pictures(put(tmp_path / "outputs", seed=1))
    text, page = made(tmp_path / "outputs")
    assert page.texts["h3"][0].endswith("seed 1")
    assert text.count(image) == 2


def test_failed_and_cut_off_runs_are_told_and_cannot_write_markup(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    put(outputs, seed=0)
    put(outputs, seed=1, status="failed", error="RunError: <script>alert(1)</script>")
    cut = put(outputs, seed=2, status="unfinished", access=None, config={"method.target": "raw"})
    cut.rename(outputs / ".seed-2.partial")
    put(outputs, seed=3, config={"method.target": "<img src=x>"})
    title = "</title><script>alert(2)</script>"
    text, page = made(outputs, "--columns", "method.target", "--title", title)
    assert "<img" not in text
    assert "alert(1)" in "".join(page.texts["dd"])
    assert re.findall(r"<script>alert", text) == []
    assert "unlearn method=gkt 'forget=[0]' seed=1" in page.texts["pre"]
    assert "unlearn method=gkt 'forget=[0]' seed=2 method.target=raw" in page.texts["pre"]
    assert {"Failed runs", "Unfinished runs"} <= set(page.texts["h2"])


def test_runs_without_figures_make_a_page_too(tmp_path: Path) -> None:
    failed, without = tmp_path / "failed", tmp_path / "without"
    put(failed, status="failed", error="RunError: the loss is not finite")
    _, page = made(failed, "--rows", "method,filter.gate")
    assert page.texts["h2"] == ["Table", "Failed runs"]
    nothing = {"retain": None, "forget": None}  # as dataset=none leaves it
    put(without, command=None, at={f"accuracy.{name}.test": nothing for name in MODELS})
    text, page = made(without)
    assert page.texts["h2"] == ["Table"]
    assert "1 run started from Python" in text


def test_oracle_runs_are_marked_wherever_they_appear(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    for name, access in (("gkt", "none"), ("published", "oracle")):
        run = put(outputs, access=access, config={"method.name": name})
        add_history(run, [1.0, 0.0])
        add_pictures(run)
    put(outputs, access="oracle", status="failed", error="RunError: x", seed=7)
    _, page = made(outputs, "--rows", "method")
    assert [row[0] for row in page.rows[1:]] == ["gkt†", "published†"]
    assert page.texts["span"].count("published†") == 2
    assert "gkt†" not in page.texts["span"]
    assert "published†, seed 0" in page.texts["h3"]
    assert any("seed 7†" in text for text in page.texts["dt"])
