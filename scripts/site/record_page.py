"""The reference page of record.json, from its JSON schema."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]


def record_page(schema: Schema) -> str:
    """Make the page.

    Args:
        schema: the content of record.schema.json.

    Returns:
        Markdown: one table row for each key, dotted.
    """
    rows = "\n".join(
        f"| `{path}` | {kind} | {meaning} |"
        for name, part in schema["properties"].items()
        for path, kind, meaning in _rows(name, part, schema["$defs"])
    )
    return (
        "# record.json\n\n"
        f"{schema['description']} A test validates records against "
        "`unlearn/records/record.schema.json`, from which this page is generated. "
        "`*` stands for any name.\n\n"
        f"| key | type | meaning |\n|---|---|---|\n{rows}\n"
    )


def _rows(path: str, part: Schema, shared: Schema) -> Iterator[tuple[str, str, str]]:
    """The rows of a key: its own, then those of the keys below it."""
    if reference := part.get("$ref"):
        part = {**shared[reference.rpartition("/")[2]], **part}
    inner = dict(part.get("properties", {}))
    if isinstance(part.get("additionalProperties"), dict):
        inner["*"] = part["additionalProperties"]
    if not inner or part.get("description"):
        yield path, _type(part, shared), part.get("description", "").replace("|", "\\|")
    for name, below in inner.items():
        yield from _rows(f"{path}.{name}", below, shared)


def _type(part: Schema, shared: Schema) -> str:
    """A type and its range, in words."""
    if reference := part.get("$ref"):
        part = {**shared[reference.rpartition("/")[2]], **part}
    if "enum" in part:
        return " or ".join(f"`{'null' if value is None else value}`" for value in part["enum"])
    kinds = part.get("type", "any")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    text = " or ".join(kinds)
    if isinstance(part.get("items"), dict):
        text = text.replace("array", f"array of {_type(part['items'], shared)}")
    low, high = part.get("minimum"), part.get("maximum")
    if low is not None and high is not None:
        return f"{text}, {low} to {high}"
    if low is not None:
        return f"{text}, at least {low}"
    return text if high is None else f"{text}, at most {high}"
