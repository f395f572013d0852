"""griffe extension: reads pydantic's dataclasses as it reads the standard library's."""

from __future__ import annotations

from typing import Any

from griffe import Alias, Extension, Module

_PYDANTIC, _STANDARD = "pydantic.dataclasses.dataclass", "dataclasses.dataclass"


class PydanticDataclasses(Extension):
    """Lets griffe find the parameters of classes under pydantic's decorator."""

    def on_module_members(self, *, mod: Module, **_: Any) -> None:
        """Point the module's imported decorator at the standard library's."""
        for name, path in mod.imports.items():
            member = mod.members.get(name)
            if path == _PYDANTIC and isinstance(member, Alias):
                mod.imports[name] = member.target_path = _STANDARD
