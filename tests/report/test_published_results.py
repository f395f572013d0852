"""The tables on the pages of docs/results are those that the report makes from the records."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.paths import DOCS, ROOT
from unlearn.report.__main__ import main

RESULTS = DOCS / "results"
GRID = "method.target,method.attention_weight,filter.gate,method.schedule,method.start"
# A table of the page, by the first columns of its head; its records; which of them.
TABLES = [
    ("main_tables.md", "regrow_digits_allcnn.csv", "forget", "method=regrow"),
    ("main_tables.md", "regrow_warm_fashion_mnist_allcnn.csv", "forget", ""),
    ("main_tables.md", "regrow_fashion_mnist_lenet.csv", "forget", ""),
    ("main_tables.md", "regrow_warm_digits_lenet.csv", "forget", ""),
    ("first_trials.md", "regrow_digits.csv", "forget", "method=regrow"),
    ("first_trials.md", "digits_methods.csv", "method", ""),
    ("first_trials.md", "first_trials_lenet.csv", "row", ""),
    ("first_trials.md", "first_trials_digits.csv", "row", ""),
    ("first_trials.md", "first_trials_allcnn.csv", "row", ""),
    (
        "ablations/regrowth.md",
        "regrowth_fashion_mnist_allcnn.csv",
        "method.pool,method.batch_norm_prior",
        "",
    ),
    ("ablations/inconsistency.md", "inconsistency.csv", GRID, ""),
]
BOARDS = ["digits", "fashion_mnist"]


def split(line: str) -> list[str]:
    """The cells of a table's line, without the marks that point to a footnote."""
    return [cell.strip() for cell in line.replace("¹", "").replace("†", "").split("|")[1:-1]]


def tables(text: str) -> list[list[list[str]]]:
    """The tables of a page in Markdown: the head, then the rows."""
    blocks = ("\n" + text).split("\n\n")
    lines = [[line for line in block.splitlines() if line.startswith("|")] for block in blocks]
    return [[split(line) for line in [head, *rows]] for head, _, *rows in filter(None, lines)]


def printed(capsys: pytest.CaptureFixture[str], *words: str | Path) -> list[list[str]]:
    """The table that the report prints: the head, then the rows."""
    main([*map(str, words), "--format", "markdown"])
    return tables(capsys.readouterr().out)[0]


@pytest.mark.parametrize(("page", "records", "keys", "where"), TABLES)
def test_tables_are_made_from_their_records(
    page: str, records: str, keys: str, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = keys.split(",")
    found = [
        table
        for table in tables((RESULTS / page).read_text())
        if table[0][: len(names)] == names and "runs" in table[0]
    ]
    rows = [row for table in found for row in table]
    matching = []
    for head, *_ in found:
        figures = [name for name in head if name not in (*names, "runs")]
        words = ["--rows", keys, "--figures", ",".join(figures)]
        words += ["--where", where] if where else []
        made = printed(capsys, "table", RESULTS / records, *words)
        matching.append(all(row in rows for row in made))
    assert any(matching)


@pytest.mark.parametrize("board", BOARDS)
def test_the_boards_are_made_from_their_records(
    board: str, capsys: pytest.CaptureFixture[str]
) -> None:
    head, *made = printed(capsys, "leaderboard", RESULTS / f"leaderboard_{board}.csv")
    first = head.index("access")
    rows = [row for table in tables((RESULTS / "leaderboard.md").read_text()) for row in table]
    assert [row for row in made if row[first:] not in rows] == []


def test_the_readmes_table_is_made_from_its_records(capsys: pytest.CaptureFixture[str]) -> None:
    head, *made = printed(capsys, "leaderboard", RESULTS / "leaderboard_digits.csv")
    board = {row[head.index("method")]: dict(zip(head, row, strict=True)) for row in made}
    names, *rows = tables((ROOT / "README.md").read_text().replace("\u2212", "-"))[-1]
    assert len(rows) <= 12
    for row in rows:
        shown = dict(zip(names, row, strict=True))
        entry = board[shown.pop("method").split("`")[1]]
        assert shown.pop("s") == entry["s"].split()[0]
        assert {name: entry[name] for name in shown} == shown


@pytest.mark.parametrize("board", BOARDS)
def test_the_audits_are_those_of_the_calibration(board: str) -> None:
    head, *made = [
        line.split(",") for line in (RESULTS / f"calibration_{board}.csv").read_text().splitlines()
    ]
    rows = [row for table in tables((RESULTS / "audits.md").read_text()) for row in table]
    columns = [head.index(name) for name in rows[0]]
    assert [row[0] for row in made if [row[column] for column in columns] not in rows] == []
