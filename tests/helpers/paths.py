"""Where the repository's folders are."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONF = ROOT / "conf"
DOCS = ROOT / "docs"
SCHEMA = ROOT / "unlearn" / "records" / "record.schema.json"
