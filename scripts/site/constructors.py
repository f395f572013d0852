"""griffe extension: finds the constructor parameters of classes that define no `__init__`."""

from __future__ import annotations

from typing import Any

from griffe import (
    Alias,
    Attribute,
    Class,
    Extension,
    Function,
    Module,
    Parameter,
    ParameterKind,
    Parameters,
)

_PYDANTIC, _STANDARD = "pydantic.dataclasses.dataclass", "dataclasses.dataclass"


class Constructors(Extension):
    """Reads pydantic's dataclasses, named tuples and classes with a `__new__`.

    griffe itself reads the standard library's dataclasses and classes with an `__init__`.
    """

    def on_module_members(self, *, mod: Module, **_: Any) -> None:
        """Point an import of pydantic's decorator at the standard library's."""
        for name, path in mod.imports.items():
            member = mod.members.get(name)
            if path == _PYDANTIC and isinstance(member, Alias):
                mod.imports[name] = member.target_path = _STANDARD

    def on_class_members(self, *, cls: Class, **_: Any) -> None:
        """Give a class the `__init__` that its docstring's arguments belong to."""
        if "__init__" in cls.members:
            return
        made = cls.members.get("__new__")
        if isinstance(made, Function):
            parameters = list(made.parameters)
        elif any(str(base).endswith("NamedTuple") for base in cls.bases):
            parameters = [Parameter("self", kind=ParameterKind.positional_or_keyword)]
            parameters += [
                Parameter(
                    field.name,
                    annotation=field.annotation,
                    kind=ParameterKind.positional_or_keyword,
                    default=field.value,
                )
                for field in cls.members.values()
                if isinstance(field, Attribute) and field.annotation is not None
            ]
        else:
            return
        cls.set_member("__init__", Function("__init__", parameters=Parameters(*parameters)))
