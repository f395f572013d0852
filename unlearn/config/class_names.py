"""Names of classes: where they come from, and which class a name in `forget` means. No torch."""

import difflib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from hydra.utils import get_object

from unlearn.errors import ConfigError

_MOST_LISTED = 100


def find_names(dataset: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return the names of a data set's classes, or None if they are not known.

    They are `dataset.classes` if that is set. Otherwise `dataset.list_classes`, if the data set has
    it, is the import path of a function that lists them from `dataset.root`.

    Args:
        dataset: The section `dataset` as plain values.

    Raises:
        ConfigError: If the function cannot list them.
    """
    names, lister, root = (dataset.get(key) for key in ("classes", "list_classes", "root"))
    if isinstance(names, list | tuple) and all(isinstance(name, str) for name in names):
        return tuple(names)
    if names is not None or not isinstance(lister, str) or not isinstance(root, str):
        return None
    folder = Path(root).expanduser() / "train"
    changed = folder.stat().st_mtime_ns if folder.exists() else 0
    return _list_names(lister, root, changed)


@cache
def _list_names(lister: str, root: str, changed: int) -> tuple[str, ...]:
    """List the names in a folder that was last changed at `changed`; a sweep lists them once."""
    try:
        function = get_object(lister)
    except Exception as error:  # hydra raises several kinds
        reason = f"cannot be imported ({type(error).__name__})"
        raise ConfigError("dataset.list_classes", lister, reason) from error
    return tuple(function(root))


def number_classes(forget: Any, names: Sequence[str] | None) -> Any:
    """Return `forget` with the index of each class in place of its name.

    Args:
        forget: What was typed: an index or a name, or a list of them. Other values are returned
            as they are.
        names: Of all classes, in the order of their indices; None if they are not known.

    Raises:
        ConfigError: If there is no class of a name, or more than one.
    """
    if isinstance(forget, str):
        return [_find_index(forget, forget, names)]
    if not isinstance(forget, list | tuple):
        return forget
    shown = [*forget]
    return [_find_index(c, shown, names) if isinstance(c, str) else c for c in forget]


def _find_index(name: str, shown: object, names: Sequence[str] | None) -> int:
    if names is None:
        reason = f"names the class {name}, but the names are not known; allowed are the indices"
        raise ConfigError("forget", shown, f"{reason}, or names that dataset.classes lists")
    if names.count(name) == 1:
        return names.index(name)
    if name in names:
        raise ConfigError("forget", shown, f"two classes are named {name}; allowed are the indices")
    listed = list(names)
    if len(names) > _MOST_LISTED:
        listed = difflib.get_close_matches(name, names, n=10, cutoff=0.3)
    allowed = f"allowed are the indices 0 to {len(names) - 1} and the names {', '.join(listed)}"
    more = " ..." if len(listed) < len(names) else ""
    raise ConfigError("forget", shown, f"no class is named {name}; {allowed}{more}")
