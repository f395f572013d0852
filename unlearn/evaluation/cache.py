"""What was measured of networks, kept for the runs that share them.

All methods of a sweep are compared with the same original and retrained networks: whatever is
asked of these alone is computed once.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import nn

from unlearn.config.schema import digest
from unlearn.records.record import write_json

Plain = TypeVar("Plain")


@dataclass(frozen=True)
class MeasurementCache:
    """Measurements by the hash of what they depend on.

    Args:
        folder: where they are kept; None: nowhere, all is measured anew.
        about: what all of them depend on, as plain values: data, classes, seed, precision.
    """

    folder: Path | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    _hashes: WeakKeyDictionary[nn.Module, str] = field(
        default_factory=WeakKeyDictionary, init=False, compare=False
    )

    def kept(
        self, what: Sequence[object], networks: Sequence[nn.Module], measure: Callable[[], Plain]
    ) -> Plain:
        """What was measured of these networks, now or by another run.

        Args:
            what: things whose `repr` says what is measured, and how, by the code of their modules
                and of this package; if one's holds an address, which says nothing, nothing is kept.
            networks: all that it is measured on, in their order.
            measure: gives plain values (numbers, text, lists, mappings by text, None).
        """
        if self.folder is None or any(" at 0x" in repr(thing) for thing in what):
            return measure()
        told = [_package(), *((*_code(type(thing).__module__), repr(thing)) for thing in what)]
        hashes = [self._hash(network) for network in networks]
        name = digest({"what": told, "networks": hashes, "about": dict(self.about)})
        file = self.folder / f"{name}.json"
        if not file.exists():
            found = measure()
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(file, found)
        known: Plain = json.loads(file.read_text())
        return known

    def _hash(self, network: nn.Module) -> str:
        if network not in self._hashes:
            self._hashes[network] = contents(network)
        return self._hashes[network]


@cache
def _code(module: str) -> tuple[str, str]:
    """A module's name and the hash of its file: a changed formula is measured anew."""
    file = getattr(sys.modules.get(module), "__file__", None)
    return module, hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else ""


@cache
def _package() -> str:
    """The hash of all code of this package: a formula may call any of it."""
    files = sorted(Path(__file__).parents[1].rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def contents(network: nn.Module) -> str:
    """A hash of a network's structure, parameters and buffers."""
    found = hashlib.sha256(repr(network).encode())
    for name, tensor in network.state_dict().items():
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return found.hexdigest()
