"""Reference pages of the config tree: every group, option and key, with the YAML's own comments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

_PACKAGE = re.compile(r"# @package (\S+)")
_COMMENT = re.compile(r"\s*# ?(.*)")
_GROUPS = {
    "dataset": "What the networks are trained on and measured on.",
    "model": "The architecture of the teacher, the retrained reference and the student.",
    "training": "How the teacher and the retrained reference are trained.",
    "method": "The unlearning method and its settings.",
    "filter": "Which synthesised samples a method may learn from.",
    "evaluation": "What is measured of the student, and how often.",
    "hardware": "The device and the precision.",
    "tracking": "Progress bar and Weights & Biases.",
    "experiment": "Complete settings: ablations, leaderboards, the paper's tables.",
    "tuned": "Settings of one method for one data set and network. They are applied by name.",
    "hydra": "Launchers and sweepers.",
}


@dataclass(frozen=True)
class Key:
    """One key of a YAML file.

    Args:
        path: dotted, as it is typed on the command line.
        value: the YAML text of the value; empty for a section.
        comment: the comment on the key's line and on the lines that continue it.
    """

    path: str
    value: str
    comment: str


@dataclass(frozen=True)
class Option:
    """One YAML file of the config tree.

    Args:
        name: path below its top-level group, without the suffix.
        choice: what selects it on the command line; empty if it is selected by name.
        description: the comment at the top of the file.
        defaults: the entries of its defaults list, as YAML text.
        keys: in the order of the file.
    """

    name: str
    choice: str
    description: str
    defaults: tuple[str, ...]
    keys: tuple[Key, ...]


def read_option(path: Path, conf: Path) -> Option:
    """Read one YAML file.

    Args:
        path: the file, somewhere below `conf`.
        conf: the config tree's root.
    """
    text = path.read_text()
    lines = text.splitlines()
    folder = path.parent.relative_to(conf).as_posix()
    package, header = folder.replace("/", "."), []
    for line in lines:
        if found := _PACKAGE.match(line):
            package = found[1].replace("_global_", "")
        elif line.startswith("#"):
            header.append(_COMMENT.sub(r"\1", line))
        else:
            break
    root = yaml.compose(text)
    keys, defaults = [], []
    for key, value in root.value if isinstance(root, yaml.MappingNode) else ():
        if key.value == "defaults":
            defaults = [_source(text, entry) for entry in value.value]
        else:
            keys += _keys_of(key, value, text, package.strip("."))
    name = path.relative_to(conf).with_suffix("").as_posix().partition("/")[2] or path.stem
    return Option(name, _choice(folder, path.stem), "\n".join(header), tuple(defaults), tuple(keys))


def _choice(folder: str, name: str) -> str:
    """What is typed to choose an option; empty where it is found by its name."""
    if folder.startswith("tuned"):
        return ""
    if folder.startswith("experiment"):
        return f"experiment={folder.partition('/')[2]}/{name}".replace("=/", "=")
    return f"{folder}={name}"


def _keys_of(key: yaml.Node, value: yaml.Node, text: str, prefix: str) -> Iterator[Key]:
    """The rows of a key: its own, or one for each leaf below it."""
    path = f"{prefix}.{key.value}" if prefix else str(key.value)
    comment = _comment_at(text, key.end_mark if _is_block(value) else value.end_mark)
    if not (isinstance(value, yaml.MappingNode) and value.value):
        yield Key(path, _source(text, value), comment)
        return
    if comment:
        yield Key(path, "", comment)
    for inner_key, inner_value in value.value:
        yield from _keys_of(inner_key, inner_value, text, path)


def _is_block(node: yaml.Node) -> bool:
    return isinstance(node, yaml.CollectionNode) and not node.flow_style


def _source(text: str, node: yaml.Node) -> str:
    """The YAML text of a value, on one line."""
    if isinstance(node, yaml.SequenceNode) and not node.flow_style:
        return "[" + ", ".join(_source(text, item) for item in node.value) + "]"
    lines = text[node.start_mark.index : node.end_mark.index].splitlines()
    return " ".join(line.partition(" #")[0].strip() for line in lines)


def _comment_at(text: str, mark: yaml.Mark) -> str:
    """The comment behind a mark and on the lines below it that continue it."""
    first, *rest = text[mark.index :].split("\n")
    found = re.search(r"(?:^|\s)#\s?(.*)", first)
    if not found:
        return ""
    column = mark.column + first.index("#", found.start())
    parts = [found[1]]
    for line in rest:
        if line.strip().startswith("#") and line.index("#") == column:
            parts.append(line.strip("# "))
        else:
            break
    return " ".join(parts)


def config_pages(conf: Path) -> dict[str, str]:
    """Make the pages.

    Args:
        conf: the config tree's root.

    Returns:
        Markdown by page name, `index.md` first.
    """
    groups = sorted(_GROUPS, key=list(_GROUPS).index)
    unknown = {path.name for path in conf.iterdir() if path.is_dir()} - set(groups)
    if unknown:
        raise ValueError(f"config groups without a description: {', '.join(sorted(unknown))}")
    options = {
        group: [read_option(path, conf) for path in sorted((conf / group).rglob("*.yaml"))]
        for group in groups
    }
    pages = {"index.md": _index(read_option(conf / "config.yaml", conf), options)}
    for group in groups:
        head = f"# {group}\n\n{_GROUPS[group]}\n"
        pages[f"{group}.md"] = "\n".join([head, *map(_section, options[group])])
    return pages


def _index(main: Option, options: dict[str, list[Option]]) -> str:
    """The page that lists the groups and the keys of config.yaml."""
    groups = "\n".join(
        f"| [`{group}`]({group}.md) | {_GROUPS[group]} | {len(found)} |"
        for group, found in options.items()
    )
    keys = [key for key in main.keys if not key.path.startswith("hydra.")]
    defaults = "\n".join(f"- `{entry}`" for entry in main.defaults)
    return (
        "# Config tree\n\n"
        "`unlearn` composes one config from these groups with [Hydra](https://hydra.cc). "
        "`group=option` selects a file, and `group.key=value` sets a key. "
        "`unlearn --cfg job` prints the composed config.\n\n"
        f"| group | what it sets | options |\n|---|---|---|\n{groups}\n\n"
        f"## Top-level keys\n\n{_table(keys)}\n\n"
        f"## Defaults list\n\n{defaults}\n"
    )


def _section(option: Option) -> str:
    """An option: its heading, choice, description, defaults and keys."""
    parts = [f"## {option.name}", option.description]
    if option.choice:
        parts.append(f"Select it with `{option.choice}`.")
    if option.defaults:
        entries = ", ".join(f"`{entry}`" for entry in option.defaults)
        parts.append(f"Defaults list: {entries}.")
    if option.keys:
        parts.append(_table(option.keys))
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(keys: list[Key] | tuple[Key, ...]) -> str:
    """The keys as a Markdown table."""
    if not any(key.comment for key in keys):
        rows = (f"| `{key.path}` | {_shown(key)} |" for key in keys)
        return "\n".join(["| key | value |", "|---|---|", *rows])
    rows = (f"| `{key.path}` | {_shown(key)} | {_escaped(key.comment)} |" for key in keys)
    return "\n".join(["| key | value | comment |", "|---|---|---|", *rows])


def _shown(key: Key) -> str:
    """A value as code; a link where it names an object of the package."""
    if not key.value:
        return ""
    if key.value == "???":
        return "*required*"
    if key.path.endswith("_target_") and key.value.startswith("unlearn."):
        return f"[`{key.value.rpartition('.')[2]}`][{key.value}]"
    return f"`{_escaped(key.value)}`"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
