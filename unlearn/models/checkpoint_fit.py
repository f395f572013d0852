"""Finds the weights in the content of a checkpoint, and the network's names for them."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from unlearn.errors import first_line
from unlearn.models.checkpoint_values import find_bad_value
from unlearn.models.copies import copy_network

_EXTRA_STATE = "_extra_state"  # the last part of a name whose value a layer chose itself
_COUNTER = "num_batches_tracked"  # of batch norm; torch loads files without it
_AVERAGED = "n_averaged"  # of torch.optim.swa_utils.AveragedModel: no weight
_COMPILED = "_orig_mod"  # the name under which torch.compile keeps a network
_DEPTH = 3  # how deep a state dict may lie in dictionaries
_SHOWN = 3  # names in a message


@dataclass(frozen=True)
class Reading:
    """One way to read a checkpoint: where the state dict lies, and what its names mean.

    Args:
        wrapper: Keys that lead to the state dict; empty if the file is one.
        state: The state dict as the file has it.
        names: The network's name for each name in the file.
    """

    wrapper: tuple[str, ...]
    state: Mapping[str, Any]
    names: dict[str, str]

    def renamed(self) -> OrderedDict[str, Any]:
        """Return the state dict under the network's names."""
        found = {name: self.state[given] for given, name in self.names.items()}
        return OrderedDict(found)

    def load_into(self, network: nn.Module, *, strict: bool) -> None:
        """Load the state dict as torch does; some layers ask with which version it was written.

        A file that says nothing of versions is read as written by the network's own ones if torch
        does not load it otherwise.

        Raises:
            Exception: Whatever a layer's own loading raises.
        """
        state = self.renamed()
        stripped = next(iter(self.names)).removesuffix(next(iter(self.names.values())))
        given = getattr(self.state, "_metadata", None)
        if given is not None:
            prefix = stripped.removesuffix(".")
            state._metadata = {  # type: ignore[attr-defined]
                name.removeprefix(prefix).removeprefix("."): versions
                for name, versions in given.items()
                if name.startswith(prefix)
            }
        try:
            network.load_state_dict(state, strict=strict)
        except Exception:
            if given is not None:
                raise
            state = self.renamed()
            state._metadata = network.state_dict()._metadata  # type: ignore[attr-defined]
            network.load_state_dict(state, strict=strict)

    def describe(self) -> str:
        """Say where the state dict was found and what was stripped from its names."""
        where = f"the state dict under {'.'.join(self.wrapper)}" if self.wrapper else "the file"
        given = next((g for g, name in self.names.items() if g != name), None)
        stripped = given.removesuffix(self.names[given]) if given is not None else ""
        return f"{where} without the prefix {stripped}" if stripped else where


def find_readings(values: Mapping[Any, Any], expected: Mapping[str, Any]) -> list[Reading]:
    """Return every way to read a file's content, likely ones first.

    Averages of weights (EMA) come after the weights themselves. Names are read as they are before
    anything is stripped from them.

    Args:
        values: The content of the file.
        expected: The network's state dict.
    """
    found = sorted(_find_states(values), key=lambda place: _is_average(place[0]))
    return [
        Reading(wrapper, state, names)
        for wrapper, state in found
        for names in _list_names(state, expected)
    ]


def _find_states(
    values: Mapping[Any, Any], wrapper: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    if values and all(_is_entry(name, value) for name, value in values.items()):
        yield wrapper, values
    elif len(wrapper) < _DEPTH:
        for key, value in values.items():
            if isinstance(key, str) and isinstance(value, dict):
                yield from _find_states(value, (*wrapper, key))


def _is_entry(name: object, value: object) -> bool:
    """Return whether this is an entry of a state dict: a dense tensor, or a layer's extra state."""
    if not isinstance(name, str):
        return False
    if name.rpartition(".")[2] == _EXTRA_STATE:
        return True
    return (
        isinstance(value, Tensor)
        and value.layout is torch.strided
        and not (value.is_quantized or value.is_meta)
    )


def describe_kind(value: object) -> str:
    """Say what a value of a checkpoint is, in a word or two."""
    if not isinstance(value, Tensor):
        return type(value).__name__
    if value.is_meta:
        return "a tensor without values"
    dense = value.layout is torch.strided
    return f"{'a quantised' if value.is_quantized else 'a' if dense else 'a sparse'} tensor"


def _is_average(wrapper: tuple[str, ...]) -> bool:
    words = "_".join(wrapper).lower()
    return any(word in words for word in ("ema", "avg", "average", "swa", "shadow"))


def _list_names(state: Mapping[str, Any], expected: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Yield the network's names for a state dict's: as they are, then without each prefix."""
    plain = {name: name for name in state if name != _AVERAGED or name in expected}
    compiled = {
        given: ".".join(part for part in name.split(".") if part != _COMPILED)
        for given, name in plain.items()
    }
    for names in (plain, compiled) if compiled != plain else (plain,):
        parts = next(iter(names.values()), "").split(".")
        for count in range(len(parts)):
            prefix = "".join(f"{part}." for part in parts[:count])
            if not all(name.startswith(prefix) for name in names.values()):
                break
            yield {given: name.removeprefix(prefix) for given, name in names.items()}


def choose_reading(readings: list[Reading], network: nn.Module) -> Reading | str:
    """Return the first reading that fits a network, or what is wrong with the nearest one.

    A reading fits if torch loads it, or if all that it lacks is counters of batch norm and names
    of tensors that it holds under another name (tied weights).

    Args:
        readings: One or more.
        network: Not changed.
    """
    expected = network.state_dict(keep_vars=True)
    spare = {name for name in expected if name.rpartition(".")[2] == _COUNTER}
    tied = _tied_names(expected)
    misfits = [_Misfit.of(reading, expected, spare, tied) for reading in readings]
    order = sorted(range(len(readings)), key=lambda index: misfits[index].size)
    for index in order[:_SHOWN]:
        reading, fits = readings[index], misfits[index].size == 0
        if problem := find_bad_value(reading.names, reading.state, expected):
            if fits:
                return problem
            continue
        reason = _try_to_load(network, reading, strict=not fits)
        if reason is None:
            return reading
        if fits:
            return f"cannot be loaded into {type(network).__name__} ({reason})"
    nearest = order[0]
    return misfits[nearest].describe(readings[nearest], expected, type(network).__name__)


def _try_to_load(network: nn.Module, reading: Reading, *, strict: bool) -> str | None:
    """Return None if torch loads a reading into a copy of the network, or the reason why not."""
    try:
        reading.load_into(copy_network(network), strict=strict)
    except Exception as error:  # whatever a layer's own loading raises
        return first_line(error)
    return None


def _tied_names(expected: Mapping[str, Any]) -> dict[str, set[str]]:
    """Return, for each name, the other names of the same tensor."""
    groups: dict[Any, set[str]] = defaultdict(set)
    for name, value in expected.items():
        if isinstance(value, Tensor) and value.numel():
            groups[value.data_ptr(), value.shape, value.stride(), value.dtype].add(name)
    return {name: group - {name} for group in groups.values() for name in group}


@dataclass(frozen=True)
class _Misfit:
    """By what a reading differs from a network: names under the network's naming."""

    absent: list[str]
    surplus: list[str]
    reshaped: list[str]

    @classmethod
    def of(
        cls,
        reading: Reading,
        expected: Mapping[str, Any],
        spare: set[str],
        tied: Mapping[str, set[str]],
    ) -> _Misfit:
        found = reading.renamed()
        absent = expected.keys() - found.keys() - spare
        return cls(
            sorted(name for name in absent if not tied.get(name, set()) & found.keys()),
            sorted(found.keys() - expected.keys()),
            [
                name
                for name, value in found.items()
                if isinstance(value, Tensor)
                and isinstance(expected.get(name), Tensor)
                and value.shape != expected[name].shape
            ],
        )

    @property
    def size(self) -> int:
        return len(self.absent) + len(self.surplus) + len(self.reshaped)

    def describe(self, reading: Reading, expected: Mapping[str, Any], network: str) -> str:
        """Say what was found, what was expected, and how the nearest reading differs."""
        found = reading.renamed()
        faults = [
            f"{word} {_shorten(names)}"
            for word, names in (("lacks", self.absent), ("has unknown", self.surplus))
            if names
        ]
        faults += [
            f"{name} is {list(found[name].shape)}, must be {list(expected[name].shape)}"
            for name in self.reshaped[:_SHOWN]
        ]
        counts = f"{len(found)} entries found, {len(expected)} expected"
        hint = self._suggest_classes(found, expected)
        return (
            f"does not fit {network}: {'; '.join(faults)} "
            f"({counts}; nearest reading: {reading.describe()}){hint}"
        )

    def _suggest_classes(self, found: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
        """Suggest the number of classes if nothing but the length of the last layer differs."""
        if self.absent or self.surplus or not self.reshaped:
            return ""
        lengths = {(found[n].shape[:1], expected[n].shape[:1]) for n in self.reshaped}
        rests = all(found[n].shape[1:] == expected[n].shape[1:] for n in self.reshaped)
        if len(lengths) > 1 or not rests or self.reshaped[-1] not in list(expected)[-2:]:
            return ""
        (count,) = next(iter(lengths))[0]
        return f"; for a network of {count} classes, set dataset.num_classes={count}"


def _shorten(names: list[str]) -> str:
    return f"{', '.join(names[:_SHOWN])}{' ...' if len(names) > _SHOWN else ''}"
