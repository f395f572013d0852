"""The site's generated reference: no group, option, key or module is left out."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.site.api_pages import api_pages
from scripts.site.config_pages import Key, config_pages, read_option
from scripts.site.record_page import record_page
from tests.helpers.paths import CONF, ROOT, SCHEMA


def leaves(values: dict[str, Any]) -> Iterator[str]:
    """The last part of each key that is no section."""
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value)
        elif key != "defaults":
            yield str(key)


def test_every_key_of_every_option_has_a_row() -> None:
    pages = config_pages(CONF)
    for path in CONF.rglob("*/*.yaml"):
        group, _, name = path.relative_to(CONF).with_suffix("").as_posix().partition("/")
        section = pages[f"{group}.md"].split(f"\n## {name}\n")[1].split("\n## ")[0]
        rows = [line.split("`")[1] for line in section.splitlines() if line.startswith("| `")]
        keys = leaves(yaml.safe_load(path.read_text()) or {})
        missing = [key for key in keys if not any(row.endswith(key) for row in rows)]
        assert not missing, f"{path}: {missing}"


def test_a_comment_may_go_on_below_its_key(tmp_path: Path) -> None:
    (tmp_path / "filter").mkdir()
    path = tmp_path / "filter" / "mine.yaml"
    path.write_text(
        "# @package _global_\n"
        "# What it is\n"
        "defaults:\n"
        "  - other\n"
        "filter:        # a section\n"
        "  name: a#b    # first,\n"
        "               # second\n"
        "  rows: [1, 2]\n"
        "  empty: null  # null is off\n"
    )
    option = read_option(path, tmp_path)
    assert (option.name, option.choice, option.description) == ("mine", "filter=mine", "What it is")
    assert option.defaults == ("other",)
    assert option.keys == (
        Key("filter", "", "a section"),
        Key("filter.name", "a#b", "first, second"),
        Key("filter.rows", "[1, 2]", ""),
        Key("filter.empty", "null", "null is off"),
    )


@pytest.mark.parametrize(
    ("file", "choice"),
    [
        ("experiment/ablation/gate.yaml", "experiment=ablation/gate"),
        ("method/source/real.yaml", "method/source=real"),
        ("hydra/launcher/slurm_cpu.yaml", "hydra/launcher=slurm_cpu"),
        ("tuned/fashion_mnist/lenet/scrub.yaml", ""),
    ],
)
def test_an_option_says_how_it_is_chosen(file: str, choice: str) -> None:
    assert read_option(CONF / file, CONF).choice == choice


def test_every_public_module_is_on_a_page() -> None:
    text = "\n".join(api_pages(ROOT / "unlearn").values())
    for path in (ROOT / "unlearn").rglob("[!_]*.py"):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        assert f"::: {module}\n" in text


def test_every_key_of_a_record_has_a_row() -> None:
    schema = json.loads(SCHEMA.read_text())
    page = record_page(schema)
    for key in schema["properties"]:
        assert f"| `{key}" in page
    assert "| `accuracy.unlearned.test.retain` | number or null, 0 to 100 |" in page
    assert "| `selection.spearman.retain` | number or null, -1 to 1 | with D_r |" in page
