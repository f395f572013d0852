"""Turns Hydra's errors about overrides into one line."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

_NO_OPTION = "Config group override must be"  # Hydra's message for method=null
# Patterns in Hydra's messages, and the lines that replace them.
_WORDS = {
    r"Ambiguous value for argument '([^']+)'": (
        "{}: several values are a sweep: add -m; for one list of two, type [0,1]"
    ),
    r"Error parsing override '([^']*)'\s+missing EQUAL": "{}: must be KEY=VALUE",
    r"Multiple values for ([\w/]+)\.": "{0}: is already chosen; type {0}=... without +",
    r"does not support sweep type : (\w+)_SWEEP": (
        "{}: values such as interval(0,1) need a search: add hydra/sweeper=optuna"
    ),
}


def is_hydra_error(error: Exception) -> bool:
    """Return whether an error comes from the overrides or from a YAML file."""
    composing = isinstance(error, HydraException | OmegaConfBaseException | YAMLError)
    return composing or str(error).startswith(_NO_OPTION)


def explain_hydra_error(error: Exception, arguments: Sequence[str], conf: Path) -> str:
    """Return one line that explains an error of Hydra.

    Args:
        error: Error for which `is_hydra_error` is true.
        arguments: Arguments of the command line.
        conf: The conf/ tree.
    """
    text = str(error)
    line = (
        _unreadable_word(error, arguments)
        or _no_choice(text, arguments, conf)
        or _no_option(text, arguments, conf)
        or _no_key(error, arguments, conf)
        or _no_word(text)
    )
    return line or " ".join(text.split())


def _unreadable_word(error: Exception, arguments: Sequence[str]) -> str | None:
    """Explain a value that needs quotes, as in `model.checkpoint=best(1).pt` or `forget=[猫]`."""
    if not isinstance(error, OverrideParseException):
        return None
    for word in arguments:
        key, sign, value = word.partition("=")
        if not sign or word != error.override:
            continue
        typed = f"{key}={_quote(value)}"
        if not _is_readable(typed):
            return None
        typed = shlex.quote(typed) if set(typed) & set('"$`!\\') else f'"{typed}"'
        return f"{word}: Hydra cannot read this value as it stands; quote it: {typed}"
    return None


def _quote(value: str) -> str:
    """Return a value in quotes; of a list, those members in quotes that need them."""
    if value.startswith("[") and value.endswith("]"):
        members = value[1:-1].split(",")
        return f"[{','.join(m if _is_readable(f'key={m}') else _quote(m) for m in members)}]"
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _is_readable(word: str) -> bool:
    try:
        OverridesParser.create().parse_override(word)
    except HydraException:
        return False
    return True


def _no_choice(text: str, arguments: Sequence[str], conf: Path) -> str | None:
    """Explain `method=` and `method=null`."""
    if not text.startswith(_NO_OPTION):
        return None
    for group, _, value in (argument.partition("=") for argument in arguments):
        options = _options(conf, group) if group else []
        if options and value not in options:
            return f"{group}={value}: no such option; allowed are {', '.join(options)}"
    return None


def _no_option(text: str, arguments: Sequence[str], conf: Path) -> str | None:
    """Explain `method=nope`, `experiment=ablation/nope`, `experiment=[ablation/gate,nope]`."""
    absent = re.search(r"Could not (?:find|load) '([^']+)/([^'/]*)'", text)
    if absent is None:
        return None
    place = f"{absent[1]}/{absent[2]}"
    for group, _, value in (argument.lstrip("+").partition("=") for argument in arguments):
        for name in value.strip("[]").split(","):
            folder = name.rpartition("/")[0]
            # Hydra lists the options beside the folder of a name, and none for a list of names.
            if f"{group}/{name}" == place and (folder or value.startswith("[")):
                beside = [f"{folder}/{option}" for option in _options(conf, absent[1]) if folder]
                allowed = ", ".join(beside or _options(conf, group))
                return f"{group}={value}: no option {name}; allowed are {allowed}"
    options = re.findall(r"^\t([\w./-]+)$", text.split("Config search path")[0], re.MULTILINE)
    allowed = ", ".join(options) if options else f"the files in conf/{absent[1]}"
    return f"{absent[1]}={absent[2]}: no such option; allowed are {allowed}"


def _no_key(error: Exception, arguments: Sequence[str], conf: Path) -> str | None:
    """Explain `methd=gkt` and `method.iters=3`."""
    unknown = re.search(r"Could not override '([^']+)'", str(error))
    if unknown is None:
        return None
    key = unknown[1].split("@")[0]
    typed = next((a for a in arguments if a.lstrip("+~").split("=")[0] == key), key)
    return f"{typed}: no such key; {_siblings(error, key, conf)}"


def _siblings(error: Exception, key: str, conf: Path) -> str:
    """Say which keys are allowed in place of an unknown key."""
    if key.startswith(("hydra.launcher.", "hydra.sweeper.")):
        group = "/".join(key.split(".")[:2])
        return f"the chosen {group} has no such key; choose another with {group}=NAME"
    if "/" in key:
        return "the chosen {} has no group {}".format(*key.split("/", 1))
    parent: Any = getattr(error.__cause__, "parent_node", None)
    if parent is not None:
        names = sorted(str(name) for name in parent if not str(name).startswith("_"))
        return f"allowed are {', '.join(names)}"
    group = key.split(".", maxsplit=1)[0]
    package = f" --package {group}" if (conf / group).is_dir() else ""
    return f"allowed are those of `unlearn --cfg job{package}`"


def _no_word(text: str) -> str | None:
    """Explain overrides that fit none of the cases above."""
    for pattern, line in _WORDS.items():
        found = re.search(pattern, text)
        if found:
            return line.format(found[1])
    return None


def _options(conf: Path, group: str) -> list[str]:
    return sorted(path.stem for path in (conf / group).glob("*.yaml"))
