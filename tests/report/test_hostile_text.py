"""Text of other people in a report: it stays text in a terminal, Markdown, CSV, LaTeX and HTML."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pandas as pd
import pytest

from tests.helpers.synthetic import add_pictures, put, report
from unlearn.errors import ConfigError, exit_on_error, say
from unlearn.escape import csv_cell, markdown, printable, read_csv_cell
from unlearn.report.runs import load

ESCAPES = "unlearn \x1b[2J\x9b31m\u202e\r\n  unlearn force=true\x00\ud800"
WORDS = ["=1+1", "+cmd|' /C calc'!A0", "-1+cmd|x!A0", "@SUM(A1)", "'=x", "a|b", "[bold]", ":smile:"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a b_c ± †", "a b_c ± †"),
        ("a\nb\r\n  c", "a b c"),
        ("\x1b[31m", r"\x1b[31m"),
        ("\u202e\x9b\ud800\x00", r"\u202e\x9b\ud800\x00"),
    ],
)
def test_a_terminal_gets_one_line_without_control_characters(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("97.00 ± 0.12 (3 of 5)", "97.00 ± 0.12 (3 of 5)"),
        ("retained D_r of method.batch_norm", "retained D_r of method.batch_norm"),
        ("a|b\n<b>_c_ ![x](y)", r"a\|b \<b\>\_c\_ \!\[x\](y)"),
        ("\\|", r"\\\|"),
    ],
)
def test_markdown_shows_text_as_it_is(text: str, shown: str) -> None:
    assert markdown(text) == shown


@pytest.mark.parametrize(
    "text", ["-1.40 ± 0.82", "+0.3", "-", "- / -", "-2e-05", "-1.00 ± 0.10 (2 of 3)"]
)
def test_numbers_stay_numbers_in_csv(text: str) -> None:
    assert csv_cell(text) == text


@pytest.mark.parametrize("text", WORDS)
def test_no_cell_of_csv_is_a_formula_and_each_is_read_back(text: str) -> None:
    assert csv_cell(text)[0] not in "=+-@"
    assert read_csv_cell(csv_cell(text)) == text


def test_errors_and_remarks_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    say(ESCAPES)
    with pytest.raises(SystemExit), exit_on_error("unlearn"):
        raise ConfigError("forget", ESCAPES, ESCAPES)
    for line in capsys.readouterr().err.splitlines():
        assert line.startswith("unlearn: ")
        assert line.isprintable()


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """Runs whose texts want to be something else, complete and failed."""
    outputs = tmp_path / "outputs"
    for number, word in enumerate([*WORDS, ESCAPES, "</td><script>"]):
        config = {"method.target": word}
        put(outputs, config=config, seed=number, alarms=[f"{word}: x"], forget_names=[word])
        put(outputs, config=config, seed=number, status="failed", error=ESCAPES)
        put(outputs, seed=number, status="failed", command=None, model=word)
    return outputs


@pytest.mark.parametrize("form", ["terminal", "markdown", "latex", "csv"])
def test_every_format_is_made_of_printable_lines(hostile: Path, form: str) -> None:
    done = report(hostile, "--rows", "method.target,model", "--format", form)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert all(line.isprintable() for line in lines)
    if form in ("terminal", "markdown"):  # a command begins a line only where the report wrote it
        commands = [line for line in lines if line.strip().startswith("unlearn")]
        assert len(commands) == 10
    if form == "terminal":
        assert all(any(word in line for line in lines) for word in WORDS)


def test_markdown_puts_commands_and_errors_in_code_blocks(hostile: Path) -> None:
    text = report(hostile, "--rows", "method", "--format", "markdown").stdout
    table, _, notes = text.partition("\n\n")
    assert {line.replace("\\|", "").count("|") for line in table.splitlines()} == {11}
    lines = notes.splitlines()
    code = [n for n, line in enumerate(lines) if line.startswith("    ")]
    assert len(code) == 30  # ten commands, each with its error, and ten places
    assert all(lines[n - 1] == "" or n - 1 in code for n in code)
    assert "<" not in "".join(
        line.replace("\\<", "") for n, line in enumerate(lines) if n not in code
    )


def test_runs_in_csv_are_no_formulas_and_are_read_back(hostile: Path, tmp_path: Path) -> None:
    lines = tmp_path / "runs.csv"
    done = report(hostile, "--rows", "method.target,model", "--runs-csv", lines, "--format", "csv")
    for text in (lines.read_text(), done.stdout):
        for row in csv.reader(io.StringIO(text)):
            assert all(cell[:1] not in ("=", "+", "@") for cell in row)
    keys = ["method.target", "forget_names", "alarms", "model"]
    pd.testing.assert_frame_equal(load([hostile])[keys], load([lines])[keys], check_dtype=False)


def test_nothing_outside_the_folder_of_a_run_is_in_the_page(tmp_path: Path) -> None:
    outputs, secret = tmp_path / "outputs", tmp_path / "secret"
    add_pictures(put(secret))
    run = put(outputs)
    (run / "figures").mkdir()
    linked, text = run / "figures" / "a.png", run / "figures" / "b.png"
    linked.symlink_to(secret / "run-0" / "figures" / "samples.png")
    text.write_text("password")
    (put(outputs, seed=1) / "figures").symlink_to(secret / "run-0" / "figures")
    page = tmp_path / "report.html"
    done = report("page", outputs, "--output", page)
    assert "data:image/png" not in page.read_text()
    assert all(str(path) in done.stderr for path in (linked, text))
