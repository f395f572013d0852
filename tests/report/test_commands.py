"""The command line: subcommands, those of other packages, and mistakes in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.synthetic import put, report, rows

COMMANDS = ["calibration", "effects", "frontier", "leaderboard", "page", "paired", "table"]
THEIRS = {
    "their_report/__init__.py": "",
    "their_report/upper.py": (
        "def write(table, notes):\n    return table.to_csv(sep='\\t').upper()\n"
    ),
    "their_report/count.py": (
        '"""Print how many runs there are."""\n'
        "from unlearn.report import options as shared\n"
        "def add_options(parser):\n    shared.add(parser, 'outputs', '--where', '--output')\n"
        "def run(options):\n    return f'{len(shared.read_runs(options))} runs\\n'\n"
    ),
    "their_report-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: their-report\nVersion: 1",
    "their_report-1.0.dist-info/entry_points.txt": (
        "[unlearn.report.formats]\nupper = their_report.upper\n"
        "[unlearn.report.commands]\ncount = their_report.count\n"
    ),
}


def program(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`unlearn-report` as a process of its own, with a folder of packages on its path."""
    call = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(folder)!r})\n{_MAIN}"]
    return subprocess.run([*call, *words], capture_output=True, text=True, check=False)


_MAIN = "from unlearn.report.__main__ import main; main()"


def test_a_table_is_printed_if_no_command_is_named(tmp_path: Path) -> None:
    put(tmp_path)
    assert rows(tmp_path, "--figures", "D_r") == rows("table", tmp_path, "--figures", "D_r")


def test_help_lists_the_commands_and_the_options_of_each() -> None:
    listed = report("--help").stdout
    for command in COMMANDS:
        assert f"\n    {command}" in listed
        done = report(command, "--help")
        assert done.returncode == 0
        assert "--where KEY=VALUE" in done.stdout
        assert ("--rows" in done.stdout) == (command in ("table", "page", "frontier"))


def test_it_runs_as_a_program(tmp_path: Path) -> None:
    put(tmp_path)
    call = [sys.executable, "-m", "unlearn.report", str(tmp_path)]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert "97.00" in done.stdout


def test_another_package_adds_a_command_and_a_format(tmp_path: Path) -> None:
    for name, text in THEIRS.items():
        (tmp_path / "site" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "site" / name).write_text(text)
    outputs, site = tmp_path / "outputs", tmp_path / "site"
    put(outputs)
    words = ["--rows", "method", "--figures", "D_r", "--format", "upper"]
    assert program(site, str(outputs), *words).stdout == "METHOD\tRUNS\tD_R\nGKT\t1\t97.00\n"
    assert program(site, "count", str(outputs)).stdout == "1 runs\n"
    assert "Print how many runs there are." in program(site, "--help").stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rows", "method.strat"], "rows=method.strat: no record has it; near it are method.st"),
        (["--columns", "seeed"], "columns=seeed: "),
        (["--rows", "D_r"], "rows=D_r: is a figure, not a key"),
        (["--rows", ""], "rows=: must name a key"),
        (["--where", "method"], "where=method: must be KEY=VALUE"),
        (["--where", "method=noise"], "where=method=noise: no run is left; allowed are gkt"),
        (["--output", "absent/report.md"], "output=absent/report.md: cannot be written (No such"),
        (["--format", "html"], "format=html: allowed are csv, latex, markdown, terminal"),
        (["--curve", "filter.gate"], "unrecognized arguments: --curve"),
        (["page"], "the following arguments are required: --output"),
        (
            ["page", "--output", "p.html", "--leaderboard", "--figures", "D_f"],
            "argument --figures: not allowed with argument --leaderboard",
        ),
        (
            ["page", "--output", "r.html", "--curve", "method.target"],
            "curve=method.target: holds no numbers in the complete runs",
        ),
        (["page", "--output", "r.html", "--curve", "method.begin"], "curve=method.begin: no rec"),
        (["frontier"], "the following arguments are required: --output"),
        (
            ["frontier", "--output", "f.svg", "--against", "AIM"],
            "against=AIM: allowed are AIN, probe",
        ),
        (
            ["frontier", "--output", "f.svg", "--along", "method.strat"],
            "along=method.strat: no record has it; near it are method.start",
        ),
        (["frontier", "--output", "f.svg", "--where", "seed=2"], "outputs="),
        (["leaderboard", "--rows", "method"], "unrecognized arguments: --rows"),
        (["effects"], "the following arguments are required: --keys"),
        (["effects", "--keys", "method.start"], "keys=method.start: must have two values or more"),
        (["effects", "--keys", "seed=3"], "keys=seed=3: allowed are 0, 1, 2"),
        (["effects", "--keys", "seed,seed=1"], "keys=seed=1: names a key twice"),
        (["effects", "--keys", "method.tarket"], "keys=method.tarket: no record has it; near"),
        (["calibration"], "outputs="),
        (["paired", "--key", "seed"], "key=seed: must be KEY=BASELINE"),
        (
            ["paired", "--key", "filter.gate=1"],
            "key=filter.gate=1: no complete run has it",
        ),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, words: list[str], message: str) -> None:
    for seed in range(3):
        unknown = {"relearn.ain": None} if seed == 2 else {}
        put(tmp_path, seed=seed, at=unknown)
    command = words[:1] if words[0] in COMMANDS else []
    done = report(*command, tmp_path, *words[len(command) :])
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"unlearn-report: {message}")
