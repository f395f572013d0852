"""Finds the subcommands and table formats: modules of a package here, or of an installed one."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from functools import cache, partial
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any


@cache
def find_modules(package: str) -> dict[str, Callable[[], Any]]:
    """Functions that import the modules of a package, by the name of the module.

    Args:
        package: dotted name, such as `unlearn.report.formats`. It is the name of a group of entry
            points too: `NAME = "package.module"` in the metadata of an installed distribution adds
            a module. A module of the package itself hides an entry point of the same name.
    """
    own = pkgutil.iter_modules(import_module(package).__path__)
    found: dict[str, Callable[[], Any]] = {e.name: e.load for e in entry_points(group=package)}
    return found | {m.name: partial(import_module, f"{package}.{m.name}") for m in own}
