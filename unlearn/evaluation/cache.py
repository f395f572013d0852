"""A cache of measurements for runs that share networks.

All methods of a sweep are compared with the same original and retrained networks. A measurement
that depends on these networks alone is computed by the first run and read by the others.
"""

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

from unlearn.config.hashing import digest
from unlearn.files import remove_leftovers, report_damage
from unlearn.records.record import write_json

Plain = TypeVar("Plain")


@dataclass(frozen=True)
class MeasurementCache:
    """Measurements in files, each under the hash of everything that it depends on.

    Args:
        folder: Folder of the files; None: nothing is stored and everything is measured.
        determinants: What all measurements depend on, as plain values: data, classes, seeds,
            precision.
    """

    folder: Path | None = None
    determinants: Mapping[str, Any] = field(default_factory=dict)
    _hashes: WeakKeyDictionary[nn.Module, str] = field(
        default_factory=WeakKeyDictionary, init=False, compare=False
    )

    def get_or_measure(
        self,
        settings: Sequence[object],
        networks: Sequence[nn.Module],
        measure: Callable[[], Plain],
    ) -> Plain:
        """Read a measurement from the cache, or measure and store it.

        Args:
            settings: Objects whose `repr` says what is measured. The source code of their
                modules and of this package counts too. A `repr` with a memory address says
                nothing; the measurement is then not stored.
            networks: The networks that the measurement depends on, in a fixed order.
            measure: Returns plain values: numbers, text, lists, mappings by text, or None.
        """
        if self.folder is None or any(" at 0x" in repr(setting) for setting in settings):
            return measure()
        what = [
            hash_package(),
            *((*hash_module(type(setting).__module__), repr(setting)) for setting in settings),
        ]
        hashes = [self._hash(network) for network in networks]
        name = digest({"what": what, "networks": hashes, "about": dict(self.determinants)})
        file = self.folder / f"{name}.json"
        if not _is_whole(file):
            found = measure()
            self.folder.mkdir(parents=True, exist_ok=True)
            remove_leftovers(self.folder, locked=False)
            plain = json.loads(json.dumps(found))  # keys of a mapping become text
            write_json(file, {"measured": plain, "digest": digest(plain)})
        stored: Plain = json.loads(file.read_text())["measured"]
        return stored

    def _hash(self, network: nn.Module) -> str:
        if network not in self._hashes:
            self._hashes[network] = hash_network(network)
        return self._hashes[network]


def _is_whole(file: Path) -> bool:
    """Return whether a file holds a measurement and the digest that it was written with."""
    try:
        stored = json.loads(file.read_text())
        whole: bool = digest(stored["measured"]) == stored["digest"]
    except FileNotFoundError:
        return False
    except (OSError, ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        report_damage(file, "not what was written", "it is measured again")
    return whole


@cache
def hash_module(module: str) -> tuple[str, str]:
    """Return a module's name and the hash of its source file, empty if it has no file."""
    file = getattr(sys.modules.get(module), "__file__", None)
    return module, hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else ""


@cache
def hash_package() -> str:
    """Hash the source code of this package, any of which a measurement may call."""
    files = sorted(Path(__file__).parents[1].rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def hash_network(network: nn.Module) -> str:
    """Hash a network's structure, parameters and buffers."""
    found = hashlib.sha256(repr(network).encode())
    for name, tensor in network.state_dict().items():
        if not isinstance(tensor, torch.Tensor):  # a layer's extra state
            found.update(f"{name} {tensor!r}".encode())
            continue
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(
            tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        )
    return found.hexdigest()
