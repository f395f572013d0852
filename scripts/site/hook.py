"""mkdocs hook: adds the generated reference to the site, so that it cannot go stale."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]


def generate_pages() -> dict[str, str]:
    """Make the reference's pages: Markdown by path below docs/."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    from scripts.site.api_pages import api_pages
    from scripts.site.config_pages import config_pages
    from scripts.site.record_page import record_page

    schema = json.loads((ROOT / "unlearn" / "records" / "record.schema.json").read_text())
    pages = {f"reference/config/{name}": text for name, text in config_pages(ROOT / "conf").items()}
    pages |= {f"reference/api/{name}": text for name, text in api_pages(ROOT / "unlearn").items()}
    pages["reference/record.md"] = record_page(schema)
    return pages | {
        f"project/{name.lower()}": (ROOT / name).read_text()
        for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
    }


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the generated pages to the navigation."""
    pages = generate_pages()

    def below(folder: str) -> list[str]:
        return [page for page in pages if page.startswith(f"{folder}/")]

    reference = [
        {"Config": below("reference/config")},
        {"Python API": below("reference/api")},
        {"record.json": "reference/record.md"},
    ]
    config.nav = [*(config.nav or ()), {"Reference": reference}, {"Project": below("project")}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages to the site's files."""
    for path, text in generate_pages().items():
        files.append(File.generated(config, path, content=text))
    return files
