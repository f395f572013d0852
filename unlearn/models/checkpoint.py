"""Checkpoints: the user's file in, and the unlearned weights out in the same format."""

import copy
import io
import os
import shutil
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy
import safetensors.torch
import torch
from torch import Tensor, nn

from unlearn.errors import ConfigError, say
from unlearn.models.checkpoint_file import KEY, CheckpointFile, read_file
from unlearn.models.checkpoint_fit import (
    Reading,
    choose_reading,
    describe_kind,
    find_readings,
)
from unlearn.models.checkpoint_values import fits_type


@dataclass(frozen=True)
class CheckpointFormat:
    """How a checkpoint was laid out, so that the unlearned one can be laid out alike.

    Args:
        suffix: The file's suffix; `.safetensors` decides for that format.
        wrapper: Keys that lead to the state dict; empty if the file is one.
        names: The network's name for each name in the file, in the file's order; None for the
            network's own names.
        dtypes: The type of each tensor by its name in the file; absent: the network's.
        rest: The content of the file without tensors, an empty place where the state dict was.
        dropped: Keys of the file that are not written again, because their values hold tensors.
        metadata: Texts in the header of a safetensors file.
        zipped: False for a torch file in the format that was usual before torch 1.6.
        companions: Small files beside the weights in a Hugging Face folder, as `config.json`.
    """

    suffix: str = ".safetensors"
    wrapper: tuple[str, ...] = ()
    names: dict[str, str] | None = None
    dtypes: dict[str, torch.dtype] = field(default_factory=dict)
    rest: Any = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    metadata: dict[str, str] | None = None
    zipped: bool = True
    companions: tuple[Path, ...] = ()

    def save(self, network: nn.Module, path: Path) -> None:
        """Write the network's state to `path` in this format.

        The file is on the disk when this returns, and its mode follows the umask. If the teacher
        was a Hugging Face folder, a folder is made as well, named as the file without its suffix.
        """
        state = self._state(network.state_dict())
        if self.suffix == ".safetensors":
            content = safetensors.torch.save(state, self.metadata)
        else:
            buffer = io.BytesIO()
            torch.save(self._wrap(state), buffer, _use_new_zipfile_serialization=self.zipped)
            content = buffer.getvalue()
        write_bytes(path, content)
        if self.companions:
            safe = self.suffix == ".safetensors"
            fill_folder(path, "model.safetensors" if safe else "pytorch_model.bin", self.companions)

    def _state(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """Return a network's state under the file's names, in its order and with its types."""
        names = self.names
        if names is None or not found.keys() >= set(names.values()):
            names = {name: name for name in found}
        state = {}
        for given, name in names.items():
            value = found[name]
            if isinstance(value, Tensor):
                value = value.detach().cpu()
                dtype = self.dtypes.get(given, value.dtype)
                if not fits_type(value, dtype):
                    say(f"{given} is written as {value.dtype}: {dtype} cannot hold its values")
                    dtype = value.dtype
                value = value.to(dtype).contiguous().clone()
            state[given] = value
        return state

    def _wrap(self, state: dict[str, Any]) -> Any:
        """Return the content of a torch file: the state dict in its place among the rest."""
        content = copy.deepcopy(self.rest)
        place = content
        for key in self.wrapper:
            place = place[key]
        extra = dict(place)  # entries of the state dict that are no weights
        place.clear()
        place.update(state | extra)
        return content


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file that is on the disk when this returns; its mode follows the umask."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def fill_folder(path: Path, name: str, companions: tuple[Path, ...]) -> None:
    """Make a Hugging Face folder of weights and of what lay beside the teacher's.

    Args:
        path: The file with the weights. The folder has its name without the suffix.
        name: The name of the weights in the folder; a hard link where there are such.
        companions: Files to copy.
    """
    folder = path.with_suffix("")
    folder.mkdir(exist_ok=True)
    for file in companions:
        shutil.copyfile(file, folder / file.name)
    weights = folder / name
    weights.unlink(missing_ok=True)
    try:
        weights.hardlink_to(path)
    except OSError:  # a file system without hard links
        shutil.copyfile(path, weights)


def own_format(network: nn.Module) -> CheckpointFormat:
    """Return the format for a network that was trained here.

    Safetensors files hold nothing but tensors: a network whose layers have extra state of another
    type is written as a torch file.
    """
    plain = all(isinstance(value, Tensor) for value in network.state_dict().values())
    return CheckpointFormat() if plain else CheckpointFormat(".pt")


def load_into(network: nn.Module, path: str) -> CheckpointFormat:
    """Load the weights at `path` into a network of the same architecture.

    Takes what `torch.nn.Module.load_state_dict` and `safetensors.torch.load_model` take. The state
    dict may lie in dictionaries, under any keys. A prefix that all names share is stripped if the
    rest fits the network.

    Args:
        network: Its weights are replaced; unchanged if the checkpoint is refused.
        path: A safetensors file, or a torch file that loads with `weights_only=True`.

    Raises:
        ConfigError: Naming `model.checkpoint` if the file is missing, damaged, unsafe, or does
            not fit the network.
    """
    file = read_file(path)
    readings = find_readings(file.values, network.state_dict())
    if not readings:
        kinds = [f"{name} ({describe_kind(value)})" for name, value in file.values.items()]
        keys = ", ".join(kinds[:5]) or "nothing"
        detail = f"must hold a state dict: names mapped to tensors; it holds {keys}"
        raise ConfigError(KEY, path, detail)
    reading = choose_reading(readings, network)
    if isinstance(reading, str):
        raise ConfigError(KEY, path, reading)
    reading.load_into(network, strict=False)
    return _describe_format(file, reading)


def _describe_format(file: CheckpointFile, reading: Reading) -> CheckpointFormat:
    rest, dropped = _without_tensors(file.values, reading)
    return CheckpointFormat(
        suffix=file.suffix,
        wrapper=reading.wrapper,
        names=reading.names,
        dtypes={
            given: reading.state[given].dtype
            for given in reading.names
            if isinstance(reading.state[given], Tensor)
        },
        rest=rest,
        dropped=tuple(dropped),
        metadata=file.metadata,
        zipped=file.zipped,
        companions=file.companions,
    )


def _without_tensors(values: Mapping[Any, Any], reading: Reading) -> tuple[Any, list[str]]:
    """Return the content without tensors, and the keys whose values held some.

    Averages of weights and the momenta of an optimiser may hold what is to be forgotten. The place
    of the state dict is kept, with the entries that are no weights of the network.
    """
    if values is reading.state:
        empty: Any = OrderedDict() if isinstance(values, OrderedDict) else {}
        empty.update((n, v) for n, v in values.items() if n not in reading.names)
        if hasattr(values, "_metadata"):  # torch's own, of the versions of layers
            empty._metadata = values._metadata
        return empty, []
    rest: Any = type(values)()
    dropped: list[str] = []
    for key, value in values.items():
        if isinstance(value, dict) and _holds(value, reading.state):
            rest[key], within = _without_tensors(value, reading)
            dropped += [f"{key}.{name}" for name in within]
        elif _is_plain(value):
            rest[key] = value
        else:
            dropped.append(str(key))
    return rest, dropped


def _holds(values: Mapping[Any, Any], state: Mapping[str, Any]) -> bool:
    """Return whether a state dict is this dictionary or lies within it."""
    return values is state or any(
        isinstance(value, dict) and _holds(value, state) for value in values.values()
    )


def _is_plain(value: object) -> bool:
    """Return whether a value holds no tensor and no array of numbers."""
    if isinstance(value, Tensor | numpy.ndarray):
        return False
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return _is_plain(vars(value)) if hasattr(value, "__dict__") else True
