"""Reference pages of the Python API: one page a package, from the docstrings."""

from __future__ import annotations

from pathlib import Path

# What the author of a method or a metric reads comes first; then the rest of the package.
_FIRST = ("protocol", "methods", "filters", "synthesis", "training", "models", "data", "evaluation")
_LOOSE = "other modules"


def api_pages(package: Path) -> dict[str, str]:
    """Make the pages.

    Args:
        package: the folder of the package `unlearn`.

    Returns:
        Markdown by page name, `index.md` first.
    """
    modules: dict[str, list[str]] = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        if any(part.startswith("_") for part in parts):
            continue
        loose = len(parts) == 1 and parts[0] not in _FIRST
        modules.setdefault(_LOOSE if loose else parts[0], []).append(".".join(parts))
    names = [*(name for name in _FIRST if name in modules)]
    names += [name for name in modules if name not in (*_FIRST, _LOOSE)] + [_LOOSE]
    rows = "\n".join(f"| [`{name}`]({_file(name)}) | {_summary(package, name)} |" for name in names)
    head = "# Python API\n\n| package | what it holds |\n|---|---|\n"
    pages = {"index.md": f"{head}{rows}\n"}
    for name in names:
        blocks = "\n".join(f"::: unlearn.{module}\n" for module in modules[name])
        summary = "" if modules[name] == [name] else f"{_summary(package, name)}\n\n"
        pages[_file(name)] = f"# {_title(name)}\n\n{summary}{blocks}"
    return pages


def _file(name: str) -> str:
    return f"{name.replace(' ', '_')}.md"


def _title(name: str) -> str:
    return "Other modules" if name == _LOOSE else f"unlearn.{name}"


def _summary(package: Path, name: str) -> str:
    """The first line of a package's docstring."""
    for path in (package / name / "__init__.py", package / f"{name}.py"):
        if path.exists():
            first, _, _ = path.read_text().partition("\n")
            return first.strip('"')
    return "Errors, hardware, resuming, statistics."
